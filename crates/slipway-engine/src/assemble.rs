//! Config, history and times of the finished image (`spec/dockerfile.md` sections 4.1 to 4.3).

use slipway_oci::{DiffId, Digest, History, ImageConfig};

/// What is known of the layers besides their content.
struct LayerFacts<'a> {
    /// When each layer was made, bottom first, in nanoseconds since 1970.
    layers_ns: &'a [i64],
    /// Names of the steps that made the topmost layers, in their order.
    step_names: &'a [String],
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    epoch: Option<i64>,
}

/// The config as a value and as the bytes that its digest is made of.
#[derive(Clone, Debug)]
pub(crate) struct Assembled {
    pub(crate) config: ImageConfig,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

/// An image that lacks nothing but the diff IDs of its layers.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) config: ImageConfig,
    pub(crate) n_base_history: usize,
    /// As [`LayerFacts::layers_ns`].
    pub(crate) layers_ns: Vec<i64>,
    /// As [`LayerFacts::step_names`].
    pub(crate) step_names: Vec<String>,
    /// `SOURCE_DATE_EPOCH` of the build.
    pub(crate) epoch: Option<i64>,
}

impl Draft {
    /// The image with these layers, and with times for `epoch`.
    pub(crate) fn finish(&self, diff_ids: Vec<DiffId>, epoch: Option<i64>) -> Result<Assembled, serde_json::Error> {
        let facts = LayerFacts { layers_ns: &self.layers_ns, step_names: &self.step_names, epoch };
        assemble(self.config.clone(), self.n_base_history, diff_ids, &facts)
    }
}

/// Puts layers and times into what lowering made of the config. The first `n_base_history` entries of the history came
/// with the base image and are kept as they are.
fn assemble(
    mut config: ImageConfig,
    n_base_history: usize,
    diff_ids: Vec<DiffId>,
    facts: &LayerFacts<'_>,
) -> Result<Assembled, serde_json::Error> {
    match_history_to_layers(&mut config.history, diff_ids.len(), facts.step_names);
    fill_in_times(&mut config.history, facts.layers_ns);
    if let Some(epoch) = facts.epoch {
        clamp_times(&mut config.history[n_base_history..], epoch);
    }
    config.created = config.history.last().and_then(|entry| entry.created.clone()).or(config.created);
    if config.created.is_none() {
        config.created = facts.epoch.map(|epoch| rfc3339(epoch.saturating_mul(1_000_000_000)));
    }
    config.rootfs.diff_ids = diff_ids;
    let bytes = slipway_oci::to_compact(&config)?;
    let digest = Digest::of(&bytes);
    Ok(Assembled { config, bytes, digest })
}

/// Every layer has one entry that is not empty: what is too much becomes empty from the end, what is missing is added.
fn match_history_to_layers(history: &mut Vec<History>, n_layers: usize, step_names: &[String]) {
    let mut n_entries = history.iter().filter(|entry| !entry.empty_layer).count();
    for entry in history.iter_mut().rev() {
        if n_entries <= n_layers {
            break;
        }
        if !entry.empty_layer {
            entry.empty_layer = true;
            n_entries -= 1;
        }
    }
    for layer in n_entries..n_layers {
        let name = (layer + step_names.len()).checked_sub(n_layers).and_then(|index| step_names.get(index));
        history.push(History {
            created_by: Some(name.map_or("created by buildkit", String::as_str).to_owned()),
            comment: Some("buildkit.exporter.image.v0".to_owned()),
            ..History::default()
        });
    }
}

/// A layer's entry has the time of the layer; one without a layer that of the first new layer, if it comes before it,
/// else that of the entry before.
fn fill_in_times(history: &mut [History], layers_ns: &[i64]) {
    let mut layers = layers_ns.iter();
    for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
        let layer_ns = layers.next();
        if entry.created.is_none() {
            entry.created = layer_ns.map(|ns| rfc3339(*ns));
        }
    }
    let first_without = history.iter().position(|entry| entry.created.is_none()).unwrap_or(history.len());
    let next = history[first_without..].iter().find_map(|entry| entry.created.clone());
    let mut current = next.or_else(|| history[..first_without].iter().rev().find_map(|entry| entry.created.clone()));
    for entry in &mut history[first_without..] {
        match &entry.created {
            Some(created) => current = Some(created.clone()),
            None => entry.created.clone_from(&current),
        }
    }
}

fn clamp_times(entries: &mut [History], epoch: i64) {
    for entry in entries {
        entry.created = Some(rfc3339(epoch.saturating_mul(1_000_000_000)));
    }
}

/// RFC 3339 in UTC, with as many digits of a second as it takes.
pub(crate) fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created: Option<&str>, empty_layer: bool) -> History {
        History { created: created.map(str::to_owned), empty_layer, ..History::default() }
    }

    fn assembled(history: Vec<History>, n_base: usize, layers_ns: &[i64], epoch: Option<i64>) -> Vec<String> {
        let config = ImageConfig { history, ..ImageConfig::default() };
        let diff_ids = layers_ns.iter().map(|ns| DiffId(Digest::of(&ns.to_le_bytes()))).collect();
        let assembled = assemble(config, n_base, diff_ids, &LayerFacts { layers_ns, step_names: &[], epoch }).unwrap();
        let last = assembled.config.history.last().and_then(|e| e.created.clone());
        assert_eq!(assembled.config.created, last);
        let times = assembled.config.history.iter().map(|e| e.created.clone().unwrap_or_default());
        times.map(|t| t.trim_start_matches("1970-01-01T00:00:").to_owned()).collect()
    }

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn entries_without_a_layer_take_the_time_of_the_first_new_layer_or_the_one_before() {
        let history = vec![
            entry(Some("base"), false),
            entry(None, true),
            entry(None, false),
            entry(None, true),
            entry(None, false),
        ];
        let times = assembled(history, 1, &[SECOND, 2 * SECOND, 3 * SECOND], None);
        assert_eq!(times, ["base", "02Z", "02Z", "02Z", "03Z"]);
    }

    #[test]
    fn with_nothing_but_metadata_the_base_gives_the_time() {
        assert_eq!(
            assembled(vec![entry(Some("base"), false), entry(None, true)], 1, &[SECOND], None),
            ["base", "base"]
        );
    }

    #[test]
    fn the_epoch_replaces_the_times_of_new_entries_only() {
        let history = vec![entry(Some("base"), false), entry(None, false), entry(None, true)];
        assert_eq!(assembled(history, 1, &[SECOND, 2 * SECOND], Some(7)), ["base", "07Z", "07Z"]);
    }

    #[test]
    fn surplus_entries_become_empty_and_missing_ones_are_added() {
        let mut history = vec![entry(None, false), entry(None, false)];
        match_history_to_layers(&mut history, 1, &[]);
        assert_eq!(history.iter().map(|e| e.empty_layer).collect::<Vec<_>>(), [false, true]);
        match_history_to_layers(&mut history, 2, &["[1/2] FROM".to_owned(), "[2/2] COPY".to_owned()]);
        assert_eq!(history.len(), 3);
        assert_eq!(history[2].created_by.as_deref(), Some("[2/2] COPY"));
    }
}
