//! `--cache-from` and `--cache-to` (`spec/cli.md` section 4.4).
//!
//! A source that makes no sense is told as a warning when the build looks for it, as the reference does; a target that
//! makes no sense is refused. Places without credentials are left out of both without a word.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_oci::Reference;

use super::{Moment, Surroundings, csv, parse_bool};
use crate::request::{
    CacheDocument, CacheExtent, CacheMounts, CachePlace, CacheSource, CacheTarget, Compression, GhaPlace, S3Place,
    SecretValue,
};

/// The largest cache mount that goes along unless `mounts-max-size` says otherwise.
const MAX_MOUNT_BYTES: u64 = 2 << 30;
const TOUCH_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
const GHA_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// For how long a server may say nothing unless `timeout` says otherwise. Some registries need most of it to take in a
/// large layer; a cache that makes a build wait for longer is none.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Why a cache entry is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CacheFlagError {
    #[error("type required for {text:?}")]
    Type { text: String },
    #[error("unknown cache exporter: {kind:?}")]
    UnknownExporter { kind: String },
    #[error("a cache of type {kind} is not supported; there are inline, registry, local, gha and s3")]
    Unsupported { kind: String },
    #[error("{kind} cache requires {key}")]
    Missing { kind: &'static str, key: &'static str },
    #[error("invalid cache reference {text:?}")]
    Reference { text: String },
    #[error("invalid {key} {text:?} of a cache")]
    Value { key: &'static str, text: String },
}

impl CacheFlagError {
    pub(super) fn moment(&self) -> Moment {
        match self {
            CacheFlagError::Type { .. } => Moment::Options,
            _ => Moment::Solve,
        }
    }
}

/// The fields of an entry; names are in lower case.
struct Fields<'a> {
    kind: String,
    pairs: Vec<(String, String)>,
    surroundings: &'a dyn Surroundings,
}

impl Fields<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        let last = self.pairs.iter().rev().find(|(name, _)| name == key);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of `key`, or else of an environment variable.
    fn text_or_variable(&self, key: &str, variable: &str) -> Option<String> {
        let value = self.text(key).map(str::to_owned);
        value.or_else(|| self.surroundings.variable(variable)).filter(|value| !value.is_empty())
    }

    fn required(&self, kind: &'static str, key: &'static str) -> Result<&str, CacheFlagError> {
        self.text(key).ok_or(CacheFlagError::Missing { kind, key })
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, CacheFlagError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        parse_bool(text).ok_or_else(|| CacheFlagError::Value { key, text: text.to_owned() })
    }

    fn number(&self, key: &'static str) -> Result<Option<u32>, CacheFlagError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| CacheFlagError::Value { key, text: text.to_owned() })
    }

    fn duration(&self, key: &'static str, default: Duration) -> Result<Duration, CacheFlagError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        crate::duration::duration_of(text).ok_or_else(|| CacheFlagError::Value { key, text: text.to_owned() })
    }

    fn path(&self, text: &str) -> PathBuf {
        self.surroundings.working_dir().join(Path::new(text))
    }
}

/// What `--cache-from` names.
pub(super) fn sources(texts: &[String], surroundings: &dyn Surroundings) -> Result<Vec<CacheSource>, CacheFlagError> {
    let mut sources = Vec::new();
    for fields in texts.iter().map(|text| entries(text, surroundings)) {
        for fields in fields? {
            match place(&fields, "src") {
                Ok(Some(CachePlace::Inline)) => {
                    sources.push(CacheSource::Unusable("unknown cache importer: \"inline\"".to_owned()));
                }
                Ok(place) => sources.extend(place.map(CacheSource::Place)),
                Err(CacheFlagError::UnknownExporter { kind }) => {
                    sources.push(CacheSource::Unusable(format!("unknown cache importer: {kind:?}")));
                }
                Err(error) => sources.push(CacheSource::Unusable(error.to_string())),
            }
        }
    }
    Ok(sources)
}

/// What `--cache-to` names. `wants_inline` is the build argument that asks for an inline cache.
pub(super) fn targets(
    texts: &[String],
    wants_inline: bool,
    surroundings: &dyn Surroundings,
) -> Result<Vec<CacheTarget>, CacheFlagError> {
    let mut targets = Vec::new();
    for fields in texts.iter().map(|text| entries(text, surroundings)) {
        for fields in fields? {
            let Some(place) = place(&fields, "dest")? else { continue };
            targets.push(target(&fields, place)?);
        }
    }
    let has_inline = targets.iter().any(|target| target.place == CachePlace::Inline);
    if wants_inline && !has_inline {
        let fields = Fields { kind: "inline".to_owned(), pairs: Vec::new(), surroundings };
        targets.push(target(&fields, CachePlace::Inline)?);
    }
    Ok(targets)
}

fn target(fields: &Fields<'_>, place: CachePlace) -> Result<CacheTarget, CacheFlagError> {
    let invalid = |key, text: &str| CacheFlagError::Value { key, text: text.to_owned() };
    let extent = match fields.text("mode") {
        None | Some("min") => CacheExtent::Min,
        Some("max") => CacheExtent::Max,
        Some(other) => return Err(invalid("mode", other)),
    };
    let compression = match fields.text("compression") {
        None | Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some("uncompressed") => Compression::Uncompressed,
        Some(other) => return Err(invalid("compression", other)),
    };
    Ok(CacheTarget {
        place,
        extent,
        compression,
        compression_level: fields.number("compression-level")?,
        forces_compression: fields.flag("force-compression", false)?,
        ignores_error: fields.flag("ignore-error", true)?,
        mounts: match fields.text("mounts") {
            None => CacheMounts::None,
            Some(text) => match parse_bool(text) {
                Some(true) => CacheMounts::All,
                Some(false) => CacheMounts::None,
                None => CacheMounts::Some(text.split(',').map(str::to_owned).collect()),
            },
        },
        max_mount_bytes: match fields.text("mounts-max-size") {
            None => MAX_MOUNT_BYTES,
            Some(text) => crate::size::bytes_of(text).ok_or_else(|| invalid("mounts-max-size", text))?,
        },
    })
}

/// The entries that one flag stands for: references, or fields of which one is `type`.
fn entries<'a>(text: &str, surroundings: &'a dyn Surroundings) -> Result<Vec<Fields<'a>>, CacheFlagError> {
    let error = || CacheFlagError::Type { text: text.to_owned() };
    let fields = csv::fields(text).map_err(|_| error())?;
    if fields.iter().all(|field| !field.contains('=')) {
        let of_reference = |reference: String| {
            let pairs = vec![("ref".to_owned(), reference)];
            Fields { kind: "registry".to_owned(), pairs, surroundings }
        };
        return Ok(fields.into_iter().map(of_reference).collect());
    }
    let fields = with_lists(fields);
    let pairs = csv::pairs(&fields).map_err(|_| error())?;
    let pairs: Vec<(String, String)> = pairs.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    let kind = pairs.iter().find(|(key, _)| key == "type").map(|(_, kind)| kind.clone()).ok_or_else(error)?;
    Ok(vec![Fields { kind, pairs, surroundings }])
}

/// `mounts=a,b` is one field, with or without quotes.
fn with_lists(fields: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for field in fields {
        match joined.last_mut() {
            Some(last) if last.starts_with("mounts=") && !field.contains('=') => {
                last.push(',');
                last.push_str(&field);
            }
            _ => joined.push(field),
        }
    }
    joined
}

/// Where the cache is; a folder is named by `path_key`. `None` if credentials are missing.
fn place(fields: &Fields<'_>, path_key: &'static str) -> Result<Option<CachePlace>, CacheFlagError> {
    match fields.kind.as_str() {
        "inline" => Ok(Some(CachePlace::Inline)),
        "registry" => {
            let text = fields.required("registry", "ref")?;
            let reference = text.parse::<Reference>();
            let reference = reference.map_err(|_| CacheFlagError::Reference { text: text.to_owned() })?;
            let silence_limit = silence_limit(fields)?;
            Ok(Some(CachePlace::Registry { reference, document: document(fields)?, silence_limit }))
        }
        "local" => {
            let path = fields.path(fields.required("local", path_key)?);
            let tag = fields.text("tag").unwrap_or("latest").to_owned();
            let invalid = |text: &str| CacheFlagError::Value { key: "digest", text: text.to_owned() };
            let digest = fields.text("digest").map(|text| text.parse().map_err(|_| invalid(text))).transpose()?;
            let is_reset = path_key == "dest" && fields.flag("reset", false)?;
            let (document, silence_limit) = (document(fields)?, silence_limit(fields)?);
            Ok(Some(CachePlace::Local { path, tag, digest, document, is_reset, silence_limit }))
        }
        "s3" => s3(fields),
        "gha" => gha(fields),
        "azblob" => Err(CacheFlagError::Unsupported { kind: fields.kind.clone() }),
        other => Err(CacheFlagError::UnknownExporter { kind: other.to_owned() }),
    }
}

fn document(fields: &Fields<'_>) -> Result<CacheDocument, CacheFlagError> {
    let uses_oci_types = fields.flag("oci-mediatypes", true)?;
    Ok(CacheDocument { is_image: fields.flag("image-manifest", uses_oci_types)?, uses_oci_types })
}

fn silence_limit(fields: &Fields<'_>) -> Result<Duration, CacheFlagError> {
    let limit = fields.duration("timeout", SILENCE_LIMIT)?;
    let text = || fields.text("timeout").unwrap_or_default().to_owned();
    if limit.is_zero() { Err(CacheFlagError::Value { key: "timeout", text: text() }) } else { Ok(limit) }
}

fn s3(fields: &Fields<'_>) -> Result<Option<CachePlace>, CacheFlagError> {
    const MISSING: fn(&'static str) -> CacheFlagError = |key| CacheFlagError::Missing { kind: "s3", key };
    let bucket = fields.text_or_variable("bucket", "AWS_BUCKET").ok_or_else(|| MISSING("bucket"))?;
    let region = fields.text_or_variable("region", "AWS_REGION").ok_or_else(|| MISSING("region"))?;
    let access_key_id = fields.text_or_variable("access_key_id", "AWS_ACCESS_KEY_ID");
    let secret_access_key = fields.text_or_variable("secret_access_key", "AWS_SECRET_ACCESS_KEY");
    let (Some(access_key_id), Some(secret)) = (access_key_id, secret_access_key) else { return Ok(None) };
    // A token belongs to the key that it came with.
    let session_token = match fields.text("access_key_id") {
        Some(_) => fields.text("session_token").map(str::to_owned),
        None => fields.text_or_variable("session_token", "AWS_SESSION_TOKEN"),
    };
    let prefix = |key, default: &str| fields.text(key).unwrap_or(default).to_owned();
    Ok(Some(CachePlace::S3(S3Place {
        bucket,
        region,
        names: prefix("name", "buildkit").split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        prefix: prefix("prefix", ""),
        blobs_prefix: prefix("blobs_prefix", "blobs/"),
        manifests_prefix: prefix("manifests_prefix", "manifests/"),
        endpoint_url: fields.text("endpoint_url").map(str::to_owned),
        uses_path_style: fields.flag("use_path_style", false)?,
        access_key_id,
        secret_access_key: SecretValue(secret.into_bytes()),
        session_token: session_token.map(|token| SecretValue(token.into_bytes())),
        n_parallel: fields.number("upload_parallelism")?.unwrap_or(4).clamp(1, 64) as usize,
        touch_refresh: fields.duration("touch_refresh", TOUCH_REFRESH)?,
        silence_limit: silence_limit(fields)?,
    })))
}

/// `repository` and `ghtoken` only save the reference questions about entries, so nothing is made of them here.
fn gha(fields: &Fields<'_>) -> Result<Option<CachePlace>, CacheFlagError> {
    let timeout = fields.duration("timeout", GHA_TIMEOUT)?;
    let token = fields.text_or_variable("token", "ACTIONS_RUNTIME_TOKEN");
    let url = fields.text("url_v2").or(fields.text("url")).map(str::to_owned);
    let url = url.or_else(|| fields.surroundings.variable("ACTIONS_RESULTS_URL")).filter(|url| !url.is_empty());
    let (Some(token), Some(url)) = (token, url) else { return Ok(None) };
    let scope = fields.text("scope").unwrap_or("buildkit").to_owned();
    let token = SecretValue(token.into_bytes());
    Ok(Some(CachePlace::Gha(GhaPlace { scope, url, token, timeout, silence_limit: timeout.min(SILENCE_LIMIT) })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::flags::PathKind;

    struct Machine(&'static [(&'static str, &'static str)]);

    impl Surroundings for Machine {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }

        fn kind_of(&self, _: &Path) -> PathKind {
            PathKind::Missing
        }

        fn is_stdout_terminal(&self) -> bool {
            false
        }

        fn working_dir(&self) -> PathBuf {
            PathBuf::from("/work")
        }
    }

    fn sources_of(text: &str) -> Vec<CacheSource> {
        sources(&[text.to_owned()], &Machine(&[])).unwrap()
    }

    fn target_of(text: &str) -> Result<CacheTarget, CacheFlagError> {
        Ok(targets(&[text.to_owned()], false, &Machine(&[]))?.remove(0))
    }

    #[test]
    fn references_are_registry_entries() {
        let [
            CacheSource::Place(CachePlace::Registry { reference: a, .. }),
            CacheSource::Place(CachePlace::Registry { reference: b, .. }),
        ] = &sources_of("a,host:5000/b:c")[..]
        else {
            panic!("two registries were expected")
        };
        assert_eq!((a.familiar().as_str(), b.tag()), ("a", Some("c")));
    }

    #[test]
    fn sources_of_no_use_are_kept_to_be_told() {
        for (text, reason) in [
            ("type=nope", "unknown cache importer: \"nope\""),
            ("type=inline", "unknown cache importer: \"inline\""),
            ("type=local", "local cache requires src"),
            ("type=registry,ref=A:b:c", "invalid cache reference \"A:b:c\""),
            ("type=s3,region=r", "s3 cache requires bucket"),
        ] {
            assert_eq!(sources_of(text), [CacheSource::Unusable(reason.to_owned())], "{text}");
        }
    }

    #[test]
    fn targets_of_no_use_are_refused() {
        for (text, reason) in [
            ("src=x", "type required for \"src=x\""),
            ("type=foo", "unknown cache exporter: \"foo\""),
            ("type=local,src=x", "local cache requires dest"),
            ("type=local,dest=x,mode=mid", "invalid mode \"mid\" of a cache"),
            ("type=local,dest=x,ignore-error=maybe", "invalid ignore-error \"maybe\" of a cache"),
            ("type=local,dest=x,reset=maybe", "invalid reset \"maybe\" of a cache"),
            ("type=gha,timeout=10", "invalid timeout \"10\" of a cache"),
            ("type=registry,ref=a,timeout=0", "invalid timeout \"0\" of a cache"),
            (
                "type=s3,bucket=b,region=r,access_key_id=a,secret_access_key=s,touch_refresh=day",
                "invalid touch_refresh \"day\" of a cache",
            ),
            (
                "type=azblob,account_url=x",
                "a cache of type azblob is not supported; there are inline, registry, local, gha and s3",
            ),
        ] {
            assert_eq!(target_of(text).unwrap_err().to_string(), reason, "{text}");
        }
    }

    #[test]
    fn options_of_a_target() {
        let plain = target_of("type=local,dest=x").unwrap();
        let document = CacheDocument { is_image: true, uses_oci_types: true };
        let place = |document| CachePlace::Local {
            path: PathBuf::from("/work/x"),
            tag: "latest".to_owned(),
            digest: None,
            document,
            is_reset: false,
            silence_limit: SILENCE_LIMIT,
        };
        assert_eq!((plain.place, plain.extent, plain.ignores_error), (place(document), CacheExtent::Min, true));
        let full = "type=local,dest=x,mode=max,oci-mediatypes=false,compression=zstd,ignore-error=false";
        let full = target_of(full).unwrap();
        let document = CacheDocument { is_image: false, uses_oci_types: false };
        assert_eq!((full.place, full.extent, full.ignores_error), (place(document), CacheExtent::Max, false));
        assert_eq!(full.compression, Compression::Zstd);
        let reset = target_of("type=local,dest=x,reset=true").unwrap();
        assert!(matches!(reset.place, CachePlace::Local { is_reset: true, .. }));
    }

    #[test]
    fn cache_mounts_go_along_if_asked() {
        let mounts = |text: &str| {
            let target = target_of(&format!("type=local,dest=x,{text}")).unwrap();
            (target.mounts, target.max_mount_bytes)
        };
        let ids = |ids: &[&str]| CacheMounts::Some(ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(mounts("mode=max"), (CacheMounts::None, MAX_MOUNT_BYTES));
        assert_eq!(mounts("mounts=true,mounts-max-size=5m"), (CacheMounts::All, 5 << 20));
        assert_eq!(mounts("mounts=a,/root/.b,mode=max").0, ids(&["a", "/root/.b"]));
        assert_eq!(mounts("\"mounts=a,b\"").0, ids(&["a", "b"]));
    }

    #[test]
    fn places_without_credentials_are_left_out() {
        assert_eq!(sources_of("type=gha"), []);
        assert_eq!(sources_of("type=s3,bucket=b,region=r"), []);
        let machine = Machine(&[
            ("ACTIONS_RUNTIME_TOKEN", "hidden"),
            ("ACTIONS_RESULTS_URL", "http://gha/"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_REGION", "r"),
        ]);
        let texts = [
            "type=gha,scope=s,timeout=90s".to_owned(),
            "type=s3,bucket=b,name=x;y,touch_refresh=1h,timeout=2m".to_owned(),
        ];
        let found = sources(&texts, &machine).unwrap();
        let [CacheSource::Place(CachePlace::Gha(gha)), CacheSource::Place(CachePlace::S3(s3))] = &found[..] else {
            panic!("two places were expected: {found:?}")
        };
        assert_eq!([gha.timeout.as_secs(), s3.touch_refresh.as_secs()], [90, 3600]);
        assert_eq!([gha.silence_limit.as_secs(), s3.silence_limit.as_secs()], [60, 120]);
        let shown = format!("{found:?}");
        assert!(
            !shown.contains("hidden") && shown.contains("\"x\", \"y\"") && shown.contains("http://gha/"),
            "{shown}"
        );
    }

    #[test]
    fn a_build_argument_asks_for_an_inline_cache() {
        let inline = targets(&[], true, &Machine(&[])).unwrap();
        assert_eq!(inline.len(), 1);
        assert_eq!(inline[0].place, CachePlace::Inline);
        assert_eq!(targets(&["type=inline".to_owned()], true, &Machine(&[])).unwrap().len(), 1);
    }
}
