//! What is wrong with a target can be said before it is built, also where it is only shown (`spec/bake.md` section 7).

use slipway_bake::Target;
use slipway_graph::request::flags::{check_annotations, parse_ulimit};
use slipway_graph::size;
use slipway_oci::Platform;

/// Refuses platforms, limits and annotations that are none.
pub(super) fn check(target: &Target) -> Result<(), String> {
    for text in target.platforms.iter().flatten().flat_map(|list| list.split(',')) {
        let text = text.trim();
        let is_platform = text == "local" || text.parse::<Platform>().is_ok();
        if !is_platform {
            return Err(why_no_platform(text));
        }
    }
    if target.secrets.iter().any(|secret| secret.get("id").is_none_or(String::is_empty)) {
        return Err("secret missing ID".to_owned());
    }
    if let Some(text) = target.shm_size.as_deref()
        && size::bytes_of(text).is_none()
    {
        return Err(format!("invalid value {text} for membytes key shm-size"));
    }
    target.ulimits.iter().try_for_each(|text| parse_ulimit(text).map(drop)).map_err(|error| error.to_string())?;
    check_annotations(&target.annotations).map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("parse annotations: ").unwrap_or(&text);
        text.split("; expected `os").next().unwrap_or_default().to_owned()
    })
}

/// In the words of the reference: which part of a platform is none.
fn why_no_platform(text: &str) -> String {
    const SYSTEM: &str = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$";
    let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    let wrong = text.split('/').enumerate().find(|(_, part)| part.is_empty() || !is_plain(part));
    let reason = match wrong {
        Some((0, part)) => format!(
            "{part:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match \"{SYSTEM}\""
        ),
        Some((_, part)) => format!(
            "{part:?} is an invalid component of {text:?}: platform specifier component must match \
             \"^[A-Za-z0-9_.-]+$\""
        ),
        None => format!("{text:?}: cannot parse platform specifier"),
    };
    format!("{reason}: invalid argument")
}
