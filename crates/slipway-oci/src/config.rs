//! What an image says about itself: how to run it, which layers it has, how it came about.
//!
//! Keys are written in the reference's order (`spec/dockerfile.md` section 4.3): top-level keys sorted, the members
//! of `config` in a fixed order, empty ones left out. Members outside this schema are dropped, as the reference does.
//! Images are made by many tools: any member may be missing or `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::go_json::{empty_is_null, null_is_default, time_as_go_writes_it};
use crate::{DiffId, Platform};

/// The image config blob. `Serialize` gives the member order of the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RuntimeConfig,
    /// RFC 3339 time; `None` until the image is assembled, and if neither a layer nor a base gives one.
    #[serde(default, deserialize_with = "time_as_go_writes_it")]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "null_is_default", serialize_with = "empty_is_null")]
    pub history: Vec<History>,
    /// The cache of the build that made the image, as base64. That of a base image is not its own.
    #[serde(rename = "moby.buildkit.cache.v0", skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub inline_cache: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: Rootfs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl ImageConfig {
    /// The platform that the image says it is for.
    pub fn platform(&self) -> Platform {
        Platform { os: self.os.clone(), architecture: self.architecture.clone(), variant: self.variant.clone() }
    }
}

/// The `config` member: what a container started from the image gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeConfig {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// The `{}` that JSON sets are written with (`"80/tcp": {}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// `HEALTHCHECK`; durations are nanoseconds, zero meaning "inherit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of the image, bottom first. No layers are written as `null`, as the reference does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "null_is_default", serialize_with = "empty_is_null")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for Rootfs {
    fn default() -> Self {
        Rootfs { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One line of the image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, deserialize_with = "time_as_go_writes_it", skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_the_reference_order() {
        let mut config = ImageConfig { architecture: "amd64".into(), os: "linux".into(), ..Default::default() };
        config.config.cmd = vec!["sh".into()];
        config.config.env = vec!["A=1".into()];
        config.config.args_escaped = true;
        let text = String::from_utf8(crate::to_compact(&config).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"architecture":"amd64","config":{"Env":["A=1"],"Cmd":["sh"],"ArgsEscaped":true},"created":null,"history":null,"os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#
        );
    }

    #[test]
    fn nulls_read_as_empty() {
        let text = r#"{"architecture":null,"config":{"User":null,"Cmd":null,"Labels":null,"ArgsEscaped":null,"Env":["A=1"],
            "Healthcheck":{"Interval":null}},"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert!(config.config.cmd.is_empty() && config.rootfs.diff_ids.is_empty());
        assert_eq!(
            serde_json::from_str::<ImageConfig>(r#"{"config":null,"rootfs":null}"#).unwrap(),
            ImageConfig::default()
        );
    }

    #[test]
    fn times_are_written_as_go_does() {
        for (read, written) in [
            ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05.120000000Z", "2020-01-02T03:04:05.12Z"),
            ("2020-01-02T03:04:05.000+00:00", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05.5+02:00", "2020-01-02T03:04:05.5+02:00"),
            ("2020-01-02T03:04:05-00:30", "2020-01-02T03:04:05-00:30"),
        ] {
            let config: ImageConfig = serde_json::from_value(serde_json::json!({"created": read})).unwrap();
            assert_eq!(config.created.as_deref(), Some(written));
        }
    }
}
