//! Customers who come again and again, whatever else happens in the story.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::DemoError;
use super::traffic::{Customer, Tally};

/// Between two purchases of one customer.
const PAUSE: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(20);

/// Buys in the background until it is closed.
pub(super) struct Street {
    tally: Arc<Mutex<Tally>>,
    open: watch::Sender<bool>,
    customers: Vec<JoinHandle<Result<(), DemoError>>>,
}

impl Street {
    pub(super) fn open(customers: Vec<Customer>) -> Self {
        let (tally, (open, is_open)) = (Arc::<Mutex<Tally>>::default(), watch::channel(true));
        let walk = |customer| tokio::spawn(walk(customer, Arc::clone(&tally), is_open.clone()));
        let customers = customers.into_iter().map(walk).collect();
        Self { tally, open, customers }
    }

    /// What became of all payments so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the tally is as it should be.
    pub(super) async fn wait(
        &self,
        until: impl Fn(&Tally) -> bool,
        patience: Duration,
    ) -> Result<Tally, DemoError> {
        let reached = async {
            loop {
                let tally = self.tally();
                if until(&tally) {
                    return tally;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(patience, reached).await.map_err(|_| DemoError::Missing("enough customers"))
    }

    /// Sends everybody home, and says what went wrong in the meantime.
    pub(super) async fn close(mut self) -> Result<Tally, DemoError> {
        self.open.send_replace(false);
        for customer in std::mem::take(&mut self.customers) {
            customer.await.map_err(|error| DemoError::Unclean(error.to_string()))??;
        }
        Ok(self.tally())
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        self.customers.iter().for_each(JoinHandle::abort);
    }
}

async fn walk(
    customer: Customer,
    tally: Arc<Mutex<Tally>>,
    mut is_open: watch::Receiver<bool>,
) -> Result<(), DemoError> {
    for basket in 0.. {
        let bought = customer.shop(basket).await?;
        tally.lock().unwrap_or_else(PoisonError::into_inner).merge(bought);
        let closed = is_open.wait_for(|is_open| !is_open);
        if tokio::time::timeout(PAUSE, closed).await.is_ok() {
            break;
        }
    }
    Ok(())
}
