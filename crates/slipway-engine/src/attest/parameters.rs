//! What was asked for, in the words of BuildKit's Dockerfile frontend.

use std::collections::BTreeMap;

use slipway_graph::git::redacted;
use slipway_graph::op::{HostAddress, Network, Ulimit};
use slipway_graph::request::{BuildRequest, CacheBypass, DockerfileLocation, Extent, NamedContext};

/// The parameters of `request`, without those that are about the machine only.
pub(super) fn of(request: &BuildRequest) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    let mut put = |key: &str, value: String| args.insert(key.to_owned(), value);
    for (name, value) in &request.build_args {
        put(&format!("build-arg:{name}"), value.clone());
    }
    for (name, value) in &request.labels {
        put(&format!("label:{name}"), value.clone());
    }
    for (name, context) in &request.named_contexts {
        put(&format!("context:{name}"), named_context(name, context));
    }
    if !request.named_contexts.is_empty() {
        put("frontend.caps", "moby.buildkit.frontend.contexts+forward".to_owned());
    }
    if let Some(target) = &request.target {
        put("target", target.clone());
    }
    match &request.cache_bypass {
        CacheBypass::Nothing => {}
        CacheBypass::Everything => drop(put("no-cache", String::new())),
        CacheBypass::Stages(stages) => drop(put("no-cache", stages.join(","))),
    }
    match request.network {
        Network::Default => {}
        Network::None => drop(put("force-network-mode", "none".to_owned())),
        Network::Host => drop(put("force-network-mode", "host".to_owned())),
    }
    if !request.extra_hosts.is_empty() {
        put("add-hosts", request.extra_hosts.iter().map(extra_host).collect::<Vec<_>>().join(","));
    }
    if let Some(size) = request.shm_size_bytes {
        put("shm-size", size.to_string());
    }
    if !request.ulimits.is_empty() {
        put("ulimit", request.ulimits.iter().map(ulimit).collect::<Vec<_>>().join(","));
    }
    if request.dockerfile == DockerfileLocation::Stdin {
        put("dockerfilekey", "dockerfile".to_owned());
    }
    args
}

/// What of `args` is told, and whether that is all.
pub(super) fn told(args: &BTreeMap<String, String>, extent: Extent) -> (BTreeMap<String, String>, bool) {
    let is_private = |key: &str| key.starts_with("build-arg:") || key.starts_with("label:");
    let is_told = |(key, _): &(&String, &String)| extent == Extent::Max || !is_private(key);
    let told: BTreeMap<String, String> =
        args.iter().filter(is_told).map(|(key, value)| (key.clone(), value.clone())).collect();
    let is_all = told.len() == args.len();
    (told, is_all)
}

fn named_context(name: &str, context: &NamedContext) -> String {
    match context {
        NamedContext::Folder(_) => format!("local:{name}"),
        NamedContext::Image(Some(image)) => format!("docker-image://{}", image.familiar()),
        NamedContext::Image(None) => "docker-image://scratch".to_owned(),
        // Where it lies on the machine is nobody's business.
        NamedContext::OciLayout { tag, digest, .. } => {
            let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
            format!("oci-layout://{name}{tag}{digest}")
        }
        NamedContext::Url(url) => redacted(url),
        NamedContext::Target(target) => format!("input:{target}"),
    }
}

fn extra_host((name, address): &(String, HostAddress)) -> String {
    match address {
        HostAddress::Fixed(address) => format!("{name}={address}"),
        HostAddress::Gateway => format!("{name}=host-gateway"),
    }
}

fn ulimit(Ulimit { kind, soft, hard }: &Ulimit) -> String {
    format!("{kind}={soft}:{hard}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_told_if_little_is_wanted() {
        let args = [("build-arg:TOKEN", "x"), ("label:a", "b"), ("target", "t")];
        let args = args.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let (told_, is_all) = told(&args, Extent::Min);
        assert_eq!((told_.into_keys().collect::<Vec<_>>(), is_all), (vec!["target".to_owned()], false));
        assert_eq!(told(&args, Extent::Max), (args.clone(), true));
    }

    #[test]
    fn contexts_are_named_without_logins_and_without_paths_of_the_machine() {
        let named = |context| named_context("c", &context);
        assert_eq!(named(NamedContext::Folder("/home/me/secret".into())), "local:c");
        let layout = NamedContext::OciLayout { path: "/home/me".into(), tag: Some("1".into()), digest: None };
        assert_eq!(named(layout), "oci-layout://c:1");
        assert!(!named(NamedContext::Url("https://me:pw@h/r.git".into())).contains("pw"));
    }
}
