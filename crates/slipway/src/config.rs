//! What users have configured for slipway itself: `slipway/config.toml` below the folder of settings, or the file that
//! `SLIPWAY_CONFIG` names.
//!
//! ```toml
//! [store]
//! max-used-space = "20GB"   # no more than this stays, if it may go
//! min-free-space = "5GB"    # so much is to be free on the disk
//! reserved-space = "2GB"    # so much stays in any case
//! ```
//!
//! Sizes are written as for `slipway prune`. The file is ours, so a mistake in it is told.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use slipway_graph::size::bytes_of;
use slipway_store::Bounds;

use crate::{client_config, env_vars};

/// Why the configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the configuration {}", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("`{key}` in the configuration {} is no size: `{value}`; write one such as `20GB`", path.display())]
    Size { path: PathBuf, key: &'static str, value: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    store: StoreTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StoreTable {
    max_used_space: Option<String>,
    min_free_space: Option<String>,
    reserved_space: Option<String>,
}

/// What the store is to be kept within; without a file, nothing.
pub(crate) fn store_cap() -> Result<Bounds, ConfigError> {
    let named = env_vars::SLIPWAY_CONFIG.get_os().map(PathBuf::from);
    let is_named = named.is_some();
    let usual = || Some(client_config::user_config_folder()?.join("slipway/config.toml"));
    let Some(path) = named.or_else(usual) else { return Ok(Bounds::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(Bounds::default()),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

fn parse(text: &str, path: PathBuf) -> Result<Bounds, ConfigError> {
    let StoreTable { max_used_space, min_free_space, reserved_space } = match toml::from_str::<File>(text) {
        Ok(file) => file.store,
        Err(source) => return Err(ConfigError::Syntax { path, source: Box::new(source) }),
    };
    let size = |key: &'static str, value: Option<String>| {
        let bad = |value: &String| ConfigError::Size { path: path.clone(), key, value: value.clone() };
        value.map(|value| bytes_of(&value).ok_or_else(|| bad(&value))).transpose()
    };
    Ok(Bounds {
        reserved_bytes: size("reserved-space", reserved_space)?,
        max_used_bytes: size("max-used-space", max_used_space)?,
        min_free_bytes: size("min-free-space", min_free_space)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Bounds, String> {
        parse(text, PathBuf::from("/c")).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_those_of_prune() {
        let bounds = Bounds { max_used_bytes: Some(20 << 30), min_free_bytes: Some(512), reserved_bytes: None };
        assert_eq!(of("[store]\nmax-used-space = \"20GB\"\nmin-free-space = \"512\"\n"), Ok(bounds));
        assert_eq!(of(""), Ok(Bounds::default()));
    }

    #[test]
    fn mistakes_are_told() {
        assert!(of("[store]\nmax-used-space = \"much\"\n").unwrap_err().contains("`much`"));
        assert!(of("[store]\nmax-use-space = \"1GB\"\n").is_err());
        assert!(of("[stor").is_err());
    }
}
