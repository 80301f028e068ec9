//! What was sent, in parts that are stored one by one: a transaction is short, and between two of them
//! others come to their turn.

use monitoring_core::services::SentSeries;

/// Samples and exemplars in one transaction, some tenths of a second of SQLite's only writer. A sender that is
/// left as it comes sends 2,000.
pub(super) const SAMPLES_MAX: usize = 20_000;

/// Parts of at most so many samples and exemplars. A series with more comes in several of them.
pub(super) fn parts(sent: Vec<SentSeries>, max: usize) -> impl Iterator<Item = Vec<SentSeries>> {
    let (mut rest, mut begun) = (sent.into_iter(), None);
    std::iter::from_fn(move || {
        let (mut part, mut room) = (Vec::new(), max);
        while room > 0 {
            let Some(mut series): Option<SentSeries> = begun.take().or_else(|| rest.next()) else { break };
            let size = (series.samples.len() + series.exemplars.len()).max(1);
            if size > room {
                part.push(taken(&mut series, room));
                begun = Some(series);
            } else {
                part.push(series);
            }
            room -= size.min(room);
        }
        (!part.is_empty()).then_some(part)
    })
}

/// The first of a series, its samples before its exemplars.
fn taken(series: &mut SentSeries, count: usize) -> SentSeries {
    let samples: Vec<_> = series.samples.drain(..count.min(series.samples.len())).collect();
    let room = count - samples.len();
    let exemplars = series.exemplars.drain(..room.min(series.exemplars.len())).collect();
    SentSeries { labels: series.labels.clone(), samples, exemplars }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use monitoring_core::{Exemplar, Labels};

    fn series(name: &str, samples: usize, exemplars: usize) -> SentSeries {
        let timestamp = DateTime::UNIX_EPOCH;
        let exemplar = Exemplar { labels: Labels::default(), value: 1.0, timestamp };
        SentSeries {
            labels: vec![("__name__".to_owned(), name.to_owned())],
            samples: vec![(timestamp, 1.0); samples],
            exemplars: vec![exemplar; exemplars],
        }
    }

    fn sizes(sent: Vec<SentSeries>) -> Vec<Vec<(String, usize, usize)>> {
        let size = |one: SentSeries| (one.labels[0].1.clone(), one.samples.len(), one.exemplars.len());
        parts(sent, 4).map(|part| part.into_iter().map(size).collect()).collect()
    }

    #[test]
    fn no_part_is_larger_than_it_may_be_and_nothing_is_lost() {
        let of = |name: &str, samples, exemplars| (name.to_owned(), samples, exemplars);
        let sent = vec![series("a", 3, 0), series("b", 6, 1), series("c", 0, 0), series("d", 1, 0)];
        assert_eq!(
            sizes(sent),
            [
                vec![of("a", 3, 0), of("b", 1, 0)],
                vec![of("b", 4, 0)],
                vec![of("b", 1, 1), of("c", 0, 0), of("d", 1, 0)],
            ]
        );
        assert!(sizes(Vec::new()).is_empty());
    }
}
