//! How do the jobs of one CI run find each other's images? Each pushes its own under a tag that is made of the run and
//! the platform, so that no two write the same one.

use slipway_oci::Platform;

/// With the prefix and any platform, the longest tag is still one (distribution spec: 128 characters).
const MAX_RUN_NAME: usize = 60;

/// Whether `run` can name a run.
pub fn is_run_name(run: &str) -> bool {
    let is_of_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !run.is_empty() && run.len() <= MAX_RUN_NAME && run.bytes().all(is_of_tag)
}

/// The tag of the part for `platform` of the image that `run` makes.
pub fn part_tag(run: &str, platform: &Platform) -> String {
    format!("slipway-part-{run}-{}", platform.to_string().replace('/', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_of_a_run_has_its_tag() {
        let tag = |platform: &str| part_tag("7.1", &platform.parse().unwrap());
        assert_eq!(tag("linux/amd64"), "slipway-part-7.1-linux-amd64");
        assert_eq!(tag("linux/arm/v6"), "slipway-part-7.1-linux-arm-v6");
        assert!(is_run_name("123-4_a.b") && is_run_name(&"a".repeat(60)));
        for bad in ["", "a/b", "a b", "a:b", &"a".repeat(61)] {
            assert!(!is_run_name(bad), "{bad}");
        }
    }
}
