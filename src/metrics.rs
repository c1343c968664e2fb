//! Metrics in the text form of OpenMetrics, under the names that operators' dashboards know.
//!
//! Everything is read at the moment of the scrape from the counters that the rooms keep anyway, so there is no second
//! account that could differ. The exporter appends `_total` to counters, also where the name ends so already, as nim's does; and
//! each counter has a twin `_created`, which says when it began.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};

use crate::probe::{Amount, Head, Reading, Sample};

/// Encodes one reading.
///
/// # Errors
/// Only if a metric can't be written, which would be a fault of ours.
pub(crate) fn text(reading: &Reading) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(reading.samples.clone(), reading.heads.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(with_created(&text, reading.began))
}

/// Puts the twin behind each counter: prometheus-client has none. All began with the program.
fn with_created(text: &str, began: Duration) -> String {
    let mut twins = String::with_capacity(2 * text.len());
    let mut total = None;
    for line in text.lines() {
        twins.extend([line, "\n"]);
        if let Some(family) = line.strip_prefix("# TYPE ") {
            total = family.strip_suffix(" counter").map(|name| (name, format!("{name}_total")));
        }
        let Some((name, total)) = &total else { continue };
        // Of the line of a counter, what is between its name and its number: label values have no line ends, but may have spaces.
        let labels = line.strip_prefix(total.as_str()).and_then(|rest| rest.rsplit_once(' '));
        if let Some((labels, _)) = labels {
            twins.push_str(&format!("{name}_created{labels} {:?}\n", began.as_secs_f64()));
        }
    }
    twins
}

/// The samples of one scrape, those of one name together; and names that have none.
#[derive(Debug)]
struct Scrape(Vec<Sample>, Vec<Head>);

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
        for head in &self.1 {
            encoder.encode_descriptor(head.name, head.help, None, kind(&head.amount))?;
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
        let head = Head { name: "errors", help: "Help", amount: Amount::Counter(0) };
        let began = Duration::from_millis(1_700_000_000_500);
        let text = text(&Reading { samples, heads: vec![head], began, ..Reading::default() }).unwrap();
        for line in [
            "bridge_messages_created{direction=\"v1_to_v2\"} 1700000000.5",
            "bridge_messages_created{direction=\"v2_to_v1\"} 1700000000.5",
            "# TYPE errors counter",
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
        assert_eq!(text.matches("_created").count(), 2, "{text}");
    }
}
