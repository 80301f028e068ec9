//! Takes back connections that were lent.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::store::Lent;

/// Until `stop`, and then all that are on their way. There are no more than may be lent.
pub(crate) async fn take_back(mut returned: UnboundedReceiver<Lent>, stop: CancellationToken) {
    let mut busy = FuturesUnordered::new();
    loop {
        tokio::select! {
            lent = returned.recv() => match lent {
                Some(lent) => busy.push(lent.settle()),
                None => break,
            },
            Some(()) = busy.next() => {}
            () = stop.cancelled(), if !returned.is_closed() => returned.close(),
        }
    }
    while busy.next().await.is_some() {}
}
