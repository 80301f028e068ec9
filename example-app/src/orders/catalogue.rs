//! What the shop sells. The shop sets the price, never the client.

/// Something for sale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) name: &'static str,
    pub(crate) price_cents: i64,
}

const PRODUCTS: &[Product] = &[
    Product { name: "espresso-beans", price_cents: 1_490 },
    Product { name: "filter-beans", price_cents: 1_290 },
    Product { name: "grinder", price_cents: 8_900 },
    Product { name: "kettle", price_cents: 5_400 },
    Product { name: "mug", price_cents: 1_200 },
];

pub(crate) fn find(name: &str) -> Option<Product> {
    PRODUCTS.iter().copied().find(|product| product.name == name)
}

/// All names, for the message to someone who asked for another.
pub(crate) fn names() -> String {
    PRODUCTS.iter().map(|product| product.name).collect::<Vec<_>>().join(", ")
}
