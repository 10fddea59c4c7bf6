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
            return Err(format!("{text:?}: cannot parse platform specifier: invalid argument"));
        }
    }
    if let Some(text) = target.shm_size.as_deref().filter(|text| !text.is_empty())
        && size::bytes_of(text).is_none()
    {
        return Err(format!("invalid value {text} for membytes key shm-size"));
    }
    target.ulimits.iter().try_for_each(|text| parse_ulimit(text).map(drop)).map_err(|error| error.to_string())?;
    check_annotations(&target.annotations).map_err(|error| {
        let text = error.to_string();
        text.strip_prefix("parse annotations: ").unwrap_or(&text).to_owned()
    })
}
