//! Rebuilds the crate when a migration is added: `sqlx::migrate!` only watches files it knows.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
