//! Annotations as they are typed: `--annotation` (`spec/cli.md` section 4.6) and the keys `annotation…` of an output
//! (`spec/dockerfile.md` section 8.2).

use slipway_oci::Platform;

use super::OutputError;
use crate::request::{Annotated, Annotation};

/// Reads all `--annotation [TYPE[,TYPE…]][[PLATFORM]]:KEY=VALUE`.
pub fn of_flags(texts: &[String]) -> Result<Vec<Annotation>, OutputError> {
    let mut annotations = Vec::new();
    for text in texts {
        let (key, value) = text.split_once('=').ok_or_else(|| OutputError::Annotation { text: text.to_owned() })?;
        // What comes before a colon is always the list of types.
        let (types, key) = key.split_once(':').unwrap_or(("manifest", key));
        for kind in types.split(',') {
            let (on, platform) = kind_and_platform(kind)?;
            annotations.push(Annotation { on, platform, key: key.to_owned(), value: value.to_owned() });
        }
    }
    // The reference loses an annotation without a name, too.
    annotations.retain(|annotation| !annotation.key.is_empty());
    Ok(annotations)
}

/// Refuses what is no annotation.
pub fn check(texts: &[String]) -> Result<(), OutputError> {
    of_flags(texts).map(drop)
}

/// `manifest`, `index-descriptor[linux/arm64]`.
fn kind_and_platform(text: &str) -> Result<(Annotated, Option<Platform>), OutputError> {
    let malformed = || OutputError::AnnotationType { text: text.to_owned() };
    let (kind, platform) = match text.split_once('[') {
        Some((kind, rest)) => (kind, Some(rest.strip_suffix(']').ok_or_else(malformed)?)),
        None => (text, None),
    };
    let is_word = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if !is_word || platform == Some("") {
        return Err(malformed());
    }
    let on = annotated(kind).ok_or_else(|| OutputError::UnknownAnnotationType { kind: kind.to_owned() })?;
    Ok((on, platform.map(self::platform).transpose()?))
}

/// What the key `annotation.K`, `annotation-manifest[PLATFORM].K` … of an output asks for; `None` if it is another key.
pub(super) fn of_attribute(key: &str, value: &str) -> Result<Option<Annotation>, OutputError> {
    let Some(rest) = key.strip_prefix("annotation") else { return Ok(None) };
    let (kind, rest) = match rest.strip_prefix('-') {
        Some(rest) => rest.split_at(rest.find(['[', '.']).unwrap_or(rest.len())),
        None => ("manifest", rest),
    };
    let (platform, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((platform, rest)) => (Some(platform), rest),
        None => (None, rest),
    };
    let Some(key) = rest.strip_prefix('.').filter(|key| !key.is_empty()) else { return Ok(None) };
    let on = annotated(kind).ok_or_else(|| OutputError::UnknownAttribute { kind: kind.to_owned() })?;
    let platform = platform.map(self::platform).transpose()?;
    Ok(Some(Annotation { on, platform, key: key.to_owned(), value: value.to_owned() }))
}

fn annotated(kind: &str) -> Option<Annotated> {
    match kind {
        "manifest" => Some(Annotated::Manifest),
        "manifest-descriptor" => Some(Annotated::ManifestDescriptor),
        "index" => Some(Annotated::Index),
        "index-descriptor" => Some(Annotated::IndexDescriptor),
        _ => None,
    }
}

fn platform(text: &str) -> Result<Platform, OutputError> {
    text.parse().map_err(|source| OutputError::AnnotationPlatform { text: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(annotations: &[Annotation]) -> Vec<String> {
        let platform = |a: &Annotation| a.platform.as_ref().map(|p| format!("[{p}]")).unwrap_or_default();
        annotations.iter().map(|a| format!("{:?}{} {}={}", a.on, platform(a), a.key, a.value)).collect()
    }

    fn flag(text: &str) -> Result<Vec<String>, String> {
        of_flags(&[text.to_owned()]).map(|found| shown(&found)).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_name_what_they_annotate() {
        for (text, expected) in [
            ("a=1", &["Manifest a=1"][..]),
            ("org.x=a=b", &["Manifest org.x=a=b"]),
            ("a=", &["Manifest a="]),
            ("=x", &[]),
            ("a=b:c", &["Manifest a=b:c"]),
            ("manifest:a:b=v", &["Manifest a:b=v"]),
            ("index,manifest-descriptor:a=1", &["Index a=1", "ManifestDescriptor a=1"]),
            ("index-descriptor:a=1", &["IndexDescriptor a=1"]),
            ("manifest[linux/arm64],index:a=1", &["Manifest[linux/arm64] a=1", "Index a=1"]),
        ] {
            assert_eq!(flag(text), Ok(expected.iter().map(|s| (*s).to_owned()).collect()), "{text}");
        }
    }

    #[test]
    fn bad_flags_are_refused_as_the_reference_does() {
        for (text, expected) in [
            ("x", "parse annotations: invalid annotation \"x\", expected key=value"),
            (
                "org.x:b=1",
                "parse annotations: invalid annotation type \"org.x\", expected type and optional platform in square brackets",
            ),
            ("foo:b=1", "parse annotations: unknown annotation type \"foo\""),
            (
                "manifest[zz/q/r/s]:a=1",
                "parse annotations: invalid platform \"zz/q/r/s\": \"zz/q/r/s\": cannot parse platform specifier: invalid argument; expected `os[/arch[/variant]]`, such as `linux/amd64`",
            ),
        ] {
            assert_eq!(flag(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn keys_of_an_output_name_what_they_annotate() {
        let attribute = |key| of_attribute(key, "v").map(|found| shown(found.as_slice())).map_err(|e| e.to_string());
        for (key, expected) in [
            ("annotation.a", &["Manifest a=v"][..]),
            ("annotation[linux/amd64].a.b", &["Manifest[linux/amd64] a.b=v"]),
            ("annotation-manifest-descriptor.c", &["ManifestDescriptor c=v"]),
            ("annotation-index-descriptor[linux/arm64].c", &["IndexDescriptor[linux/arm64] c=v"]),
            ("annotation-index.x.y", &["Index x.y=v"]),
            ("annotation", &[]),
            ("annotations.a", &[]),
            ("annotation.", &[]),
        ] {
            assert_eq!(attribute(key), Ok(expected.iter().map(|s| (*s).to_owned()).collect()), "{key}");
        }
        assert_eq!(attribute("annotation-foo.a"), Err("unrecognized annotation type foo".to_owned()));
    }
}
