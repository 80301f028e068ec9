//! What customers do: register, log in, order, pay.

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::DemoError;
use super::client::{Client, Reply};

const PASSWORD: &str = "correct horse battery";
const BASKETS: [(&str, u32); 4] = [("espresso-beans", 2), ("mug", 1), ("filter-beans", 3), ("kettle", 1)];

/// Somebody with an account.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) name: &'static str,
    pub(super) id: String,
    pub(super) client: Client,
}

/// What became of some payments.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) captured: usize,
    pub(super) declined: usize,
    /// Whose payment failed, and the id of the request.
    pub(super) failed: Vec<(&'static str, String)>,
}

impl Customer {
    /// Registers a customer and logs them in.
    pub(super) async fn arrive(shop: &Client, name: &'static str) -> Result<Self, DemoError> {
        let account = json!({ "username": name, "password": PASSWORD });
        let user = shop.post("/api/v1/auth/register", account).await?.data(201)?;
        let client = log_in(shop, name, PASSWORD).await?;
        Ok(Self { name, id: text(&user["id"]), client })
    }

    /// Orders one basket and pays for it with `card`.
    async fn buy(&self, basket: usize, card: &str) -> Result<Reply, DemoError> {
        let (product, quantity) = BASKETS[basket % BASKETS.len()];
        let order = json!({ "product": product, "quantity": quantity });
        let order = self.client.post("/api/v1/orders", order).await?.data(201)?;
        let payment = json!({ "order_id": order["id"], "card_token": card });
        self.client.post("/api/v1/payments", payment).await
    }

    /// Buys one basket.
    pub(super) async fn shop(&self, basket: usize) -> Result<Tally, DemoError> {
        let mut tally = Tally::default();
        tally.add(self.name, self.buy(basket, "tok_visa").await?)?;
        Ok(tally)
    }
}

impl Tally {
    fn add(&mut self, name: &'static str, reply: Reply) -> Result<(), DemoError> {
        match reply.status.as_u16() {
            402 => self.declined += 1,
            502 => self.failed.push((name, reply.request_id()?)),
            _ => {
                reply.expect(201)?;
                self.captured += 1;
            }
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.captured += other.captured;
        self.declined += other.declined;
        self.failed.extend(other.failed);
    }

    pub(super) fn payments(&self) -> usize {
        self.captured + self.declined + self.failed.len()
    }
}

/// The same client with the token of a fresh session.
pub(super) async fn log_in(shop: &Client, username: &str, password: &str) -> Result<Client, DemoError> {
    let body = json!({ "username": username, "password": password });
    let session = shop.post("/api/v1/auth/login", body).await?.data(200)?;
    Ok(shop.with_token(text(&session["token"])))
}

/// Everybody comes at once.
pub(super) async fn arrive(shop: &Client, names: &[&'static str]) -> Result<Vec<Customer>, DemoError> {
    try_join_all(names.iter().map(|name| Customer::arrive(shop, name))).await
}

/// One customer tries a card without money.
pub(super) async fn try_empty_card(customer: &Customer) -> Result<(), DemoError> {
    customer.buy(0, "tok_declined").await?.expect(402).map(drop)
}

/// Somebody guesses a customer's password.
pub(super) async fn guess_password(shop: &Client, customer: &Customer) -> Result<(), DemoError> {
    let guess = json!({ "username": customer.name, "password": "letmein12345" });
    shop.post("/api/v1/auth/login", guess).await?.expect(401).map(drop)
}

/// A JSON text as it stands.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
