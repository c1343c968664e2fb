//! Metrics in the text form of OpenMetrics, under the names that operators' dashboards know.
//!
//! Everything is read at the moment of the scrape from the counters that the rooms keep anyway, so there is no second
//! account that could differ. The exporter appends `_total` to counters.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};

use crate::probe::{Amount, Reading, Sample};

/// Encodes one reading.
///
/// # Errors
/// Only if a metric can't be written, which would be a fault of ours.
pub(crate) fn text(reading: &Reading) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(reading.samples.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The samples of one scrape, those of one name together.
#[derive(Debug)]
struct Scrape(Vec<Sample>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in self.0.chunk_by(|a, b| a.name == b.name) {
            let Some(first) = family.first() else { continue };
            let mut metric = encoder.encode_descriptor(first.name, first.help, None, kind(&first.amount))?;
            for sample in family {
                match sample.labels.as_slice() {
                    [] => amount(&sample.amount, &mut metric)?,
                    labels => amount(&sample.amount, &mut metric.encode_family(&labels)?)?,
                }
            }
        }
        Ok(())
    }
}

fn kind(amount: &Amount) -> MetricType {
    match amount {
        Amount::Counter(_) | Amount::Seconds(_) => MetricType::Counter,
        Amount::Gauge(_) => MetricType::Gauge,
        Amount::Histogram { .. } => MetricType::Histogram,
    }
}

fn amount(amount: &Amount, metric: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
    match amount {
        Amount::Counter(n) => metric.encode_counter::<NoLabelSet, _, u64>(n, None),
        Amount::Seconds(n) => metric.encode_counter::<NoLabelSet, _, u64>(n, None),
        Amount::Gauge(n) => metric.encode_gauge(n),
        Amount::Histogram { sum, count, buckets } => metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_families_with_help_and_labels() {
        let sample = |name, labels, amount| Sample { name, help: "Help", labels, amount };
        let samples = vec![
            sample("bridge_messages", vec![("direction", "v1_to_v2".into())], Amount::Counter(2)),
            sample("bridge_messages", vec![("direction", "v2_to_v1".into())], Amount::Counter(3)),
            sample("connected_peers", vec![], Amount::Gauge(1.0)),
            sample(
                "bridge_lag_seconds",
                vec![],
                Amount::Histogram { sum: 1.5, count: 2, buckets: vec![(1.0, 1), (f64::INFINITY, 1)] },
            ),
        ];
        let text = text(&Reading { samples, ..Reading::default() }).unwrap();
        for line in [
            "# HELP bridge_messages Help",
            "# TYPE bridge_messages counter",
            "bridge_messages_total{direction=\"v1_to_v2\"} 2",
            "bridge_messages_total{direction=\"v2_to_v1\"} 3",
            "connected_peers 1.0",
            "bridge_lag_seconds_bucket{le=\"1.0\"} 1",
            "bridge_lag_seconds_bucket{le=\"+Inf\"} 2",
            "bridge_lag_seconds_count 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in:\n{text}");
        }
        assert_eq!(text.matches("# TYPE bridge_messages ").count(), 1);
    }
}
