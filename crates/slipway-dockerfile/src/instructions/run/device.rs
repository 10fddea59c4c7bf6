//! `RUN --device=`: read, so that mistakes are told, and then refused (`spec/dockerfile.md` section 3.2).

use super::mount;

/// The name of the first device of the flags, if there is one.
pub(super) fn first(devices: &[String]) -> Result<Option<String>, String> {
    let names = devices.iter().map(|device| name(device)).collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().next())
}

/// Why no step gets a device. The first half is in the words of the reference.
pub(super) fn refusal(name: &str) -> String {
    format!(
        "device feature is only supported in Dockerfile frontend 1.14.0-labs or later, and not by this builder: remove `--device={name}`"
    )
}

/// The name in `NAME[,required[=BOOL]]` or `name=NAME[,…]`.
fn name(device: &str) -> Result<String, String> {
    if device.is_empty() {
        return Err("failed to parse csv devices: EOF".to_owned());
    }
    let mut name = None;
    for field in mount::fields(device) {
        match field.split_once('=') {
            Some((key, value)) => match key.to_lowercase().as_str() {
                "name" => name = Some(value.to_owned()),
                "required" => drop(mount::bool_of("required", value)?),
                // A name of the form `vendor/class=device`.
                _ if name.is_none() && key.contains('/') => name = Some(field),
                key => return Err(format!("unexpected key '{key}' in '{field}'")),
            },
            None if field.eq_ignore_ascii_case("required") => {}
            None if name.is_none() => name = Some(field),
            None => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
    }
    Ok(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::errors;

    #[test]
    fn devices_are_refused() {
        for (device, reason) in [
            ("x.y/z=a", "device feature is only supported in Dockerfile frontend 1.14.0-labs or later"),
            ("x.y/z=a,required", "remove `--device=x.y/z=a`"),
            ("name=x.y/z=a,required=false", "remove `--device=x.y/z=a`"),
            ("", "failed to parse csv devices: EOF"),
            ("a,b", "invalid field 'b' must be a key=value pair"),
            ("x.y/z=a,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
            ("x.y/z=a,required=maybe", "invalid value for required: maybe"),
        ] {
            let told = errors(&format!("FROM scratch\nRUN --device={device} x\n"));
            assert!(told.len() == 1 && told[0].contains(reason), "{device}: {told:?}");
        }
    }
}
