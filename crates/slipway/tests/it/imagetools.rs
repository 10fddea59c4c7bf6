//! `imagetools create` and `inspect` over the test registry and OCI layouts.

use std::fs;

use serde_json::{Value, json};
use slipway_oci::{Descriptor, Digest, media_type};
use slipway_test::registry::{Access, Canned, TestRegistry};

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("an_index_is_made_of_images_of_other_repositories", an_index_is_made_of_images_of_other_repositories),
    test("an_image_grows_by_what_is_appended", an_image_grows_by_what_is_appended),
    test("an_index_is_copied_as_it_is", an_index_is_copied_as_it_is),
    test("another_registry_gets_the_bytes", another_registry_gets_the_bytes),
    test("layouts_are_places_too", layouts_are_places_too),
    test("signatures_go_with_their_image", signatures_go_with_their_image),
    test("templates_see_configs_and_attestations", templates_see_configs_and_attestations),
    test("mistakes_have_the_words_of_buildx", mistakes_have_the_words_of_buildx),
];

/// Puts an image into the registry, as `repository:tag` if there is a tag.
pub(crate) fn put_image(registry: &TestRegistry, name: &str, platform: &str) -> Descriptor {
    let (repository, tag) = name.split_once(':').map_or((name, None), |(repository, tag)| (repository, Some(tag)));
    let (os, architecture) = platform.split_once('/').unwrap();
    let layer = format!("layer of {platform}");
    let layer_digest = registry.put_blob(repository, layer.as_bytes()).unwrap();
    let config = json!({
        "architecture": architecture, "os": os, "created": "2024-01-02T03:04:05Z",
        "config": {"Env": ["A=<1>"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]}, "history": [{"created_by": "COPY a /"}],
    });
    let config = config.to_string();
    let config_digest = registry.put_blob(repository, config.as_bytes()).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::new(media_type::OCI_CONFIG, config_digest, config.len() as u64),
        "layers": [Descriptor::new(media_type::OCI_LAYER, layer_digest, layer.len() as u64)],
    });
    put_document(registry, repository, tag, media_type::OCI_MANIFEST, &manifest)
}

pub(crate) fn put_document(
    registry: &TestRegistry,
    repository: &str,
    tag: Option<&str>,
    media_type: &str,
    document: &Value,
) -> Descriptor {
    let bytes = document.to_string().into_bytes();
    let digest = registry.put_manifest(repository, tag, media_type, &bytes).unwrap();
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

fn imagetools(site: &Site, arguments: &[&str]) -> Outcome {
    run(site.slipway().args(["buildx", "imagetools"]).args(arguments))
}

fn stdout(outcome: Outcome) -> String {
    String::from_utf8(outcome.success().stdout).unwrap()
}

pub(crate) fn raw(site: &Site, name: &str) -> Value {
    serde_json::from_str(&stdout(imagetools(site, &["inspect", "--raw", name]))).unwrap()
}

pub(crate) fn platforms(index: &Value) -> Vec<String> {
    let entries = index["manifests"].as_array().unwrap();
    let shown = |entry: &Value| {
        let platform = &entry["platform"];
        format!("{}/{}", platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap())
    };
    entries.iter().map(shown).collect()
}

fn an_index_is_made_of_images_of_other_repositories() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    let host = registry.host();
    let amd = put_image(&registry, "a:1", "linux/amd64");
    put_image(&registry, "b:1", "linux/arm64");
    let names = [format!("{host}/a:1"), format!("{host}/b:1"), format!("{host}/new:1"), format!("{host}/new:2")];
    let metadata = site.name("metadata.json");
    let arguments = ["create", "--progress=plain", "-t", &names[2], "-t", &names[3], "--metadata-file", &metadata];
    let annotation = ["--annotation", "manifest-descriptor[linux/arm64]:k=v", &names[0], &names[1]];
    let dry_run = stdout(imagetools(&site, &[&["create", "--dry-run"], &annotation[..]].concat()));
    registry.forget_requests();
    let created = imagetools(&site, &[&arguments[..], &annotation].concat()).success();
    for line in [
        format!("#1 [internal] pushing {}", names[2]),
        format!("copying {} from {} to {}", amd.digest, names[0], names[2]),
        format!("pushing {} to {}", Digest::of(dry_run.trim_end().as_bytes()), names[3]),
    ] {
        assert!(created.stderr.contains(&line), "`{line}` is not in: {}", created.stderr);
    }
    let index = raw(&site, &names[3]);
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    assert_eq!(index["manifests"][1]["annotations"], json!({"k": "v"}));
    // One registry takes the blobs from its own repositories: no bytes are sent.
    let requests = registry.requests();
    assert!(requests.iter().any(|request| request.target.contains("mount=")));
    assert!(!requests.iter().any(|request| request.method == "PUT" && request.target.contains("/blobs/uploads/")));

    let metadata: Value = serde_json::from_str(&fs::read_to_string(metadata).unwrap()).unwrap();
    assert_eq!(metadata["image.name"], format!("{},{}", names[2], names[3]));
    assert_eq!(
        metadata["containerimage.descriptor"]["digest"].as_str().unwrap(),
        Digest::of(dry_run.trim_end().as_bytes()).as_str()
    );
}

fn an_image_grows_by_what_is_appended() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    let name = format!("{}/app:1", registry.host());
    let arm = put_image(&registry, "app", "linux/arm64");
    put_image(&registry, "app:1", "linux/amd64");
    let missing = format!("{}/app:none", registry.host());
    let stderr = imagetools(&site, &["create", "--append", "-t", &missing, arm.digest.as_str()]).failure();
    assert_eq!(stderr, format!("ERROR: {missing}: not found\n"));
    imagetools(&site, &["create", "--append", "-t", &name, arm.digest.as_str()]).success();
    assert_eq!(platforms(&raw(&site, &name)), ["linux/amd64", "linux/arm64"]);

    let file = site.name("descriptor.json");
    let windows = r#""platform":{"architecture":"amd64","os":"windows","os.version":"10.0.1"}"#;
    fs::write(&file, format!(r#"{{"digest":"{}",{windows}}}"#, arm.digest)).unwrap();
    imagetools(&site, &["create", "--append", "-t", &name, "-f", &file]).success();
    let index = raw(&site, &name);
    assert_eq!(platforms(&index), ["linux/amd64", "windows/amd64"], "the later platform wins");
    assert_eq!(index["manifests"][1]["platform"]["os.version"], "10.0.1");
    let only = stdout(imagetools(&site, &["create", "--dry-run", "-p", "linux/amd64", &name]));
    assert_eq!(platforms(&serde_json::from_str(&only).unwrap()), ["linux/amd64"]);
    let none = imagetools(&site, &["create", "--dry-run", "-p", "linux/s390x", &name]).failure();
    assert_eq!(none, "ERROR: none of the manifests match the provided platforms\n");
}

/// An index with a blank that no program of ours would write.
fn put_index(registry: &TestRegistry, entries: &[Descriptor]) -> Digest {
    let text =
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries }).to_string() + " ";
    registry.put_manifest("app", Some("all"), media_type::OCI_INDEX, text.as_bytes()).unwrap()
}

fn an_index_is_copied_as_it_is() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    let entries = ["linux/amd64", "linux/arm64"].map(|platform| Descriptor {
        platform: Some(platform.parse().unwrap()),
        ..put_image(&registry, "app", platform)
    });
    let digest = put_index(&registry, &entries);
    let (from, to) = (format!("{}/app:all", registry.host()), format!("{}/other:all", registry.host()));
    imagetools(&site, &["create", "-t", &to, &from]).success();
    let shown = stdout(imagetools(&site, &["inspect", &to]));
    let expected = format!(
        "Name:      {to}\nMediaType: {}\nDigest:    {digest}\n           \nManifests: \n",
        media_type::OCI_INDEX
    );
    assert!(shown.starts_with(&expected), "{shown}");
    assert!(shown.contains(&format!("  Name:      {to}@{}\n", entries[1].digest)), "{shown}");
}

fn another_registry_gets_the_bytes() {
    let site = Site::new("");
    let (from, to) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    let image = put_image(&from, "a:1", "linux/amd64");
    to.set_access(Access::bearer(false));
    let names = [format!("{}/a:1", from.host()), format!("{}/b:1", to.host())];
    let denied = imagetools(&site, &["create", "--prefer-index=false", "-t", &names[1], &names[0]]).failure();
    assert!(denied.contains("push access denied"), "{denied}");
    to.set_access(Access::Open);
    imagetools(&site, &["create", "--prefer-index=false", "-t", &names[1], &names[0]]).success();
    let digest = stdout(imagetools(&site, &["inspect", "--format", "x{{.Manifest.Digest}}", &names[1]]));
    assert_eq!(digest, format!("x{}", image.digest), "one manifest is copied as it is");
    let config = stdout(imagetools(&site, &["inspect", "--format", "{{json .Image.Config.Env}}", &names[1]]));
    assert_eq!(config, "[\n  \"A=\\u003c1\\u003e\"\n]");
}

fn layouts_are_places_too() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    put_image(&registry, "a:1", "linux/amd64");
    put_image(&registry, "a:2", "linux/arm64");
    let (one, two) = (format!("{}/a:1", registry.host()), format!("{}/a:2", registry.host()));
    let layout = format!("oci-layout://{}:all", site.name("layout"));
    imagetools(&site, &["create", "-t", &layout, &one, &two]).success();
    assert_eq!(platforms(&raw(&site, &layout)), ["linux/amd64", "linux/arm64"]);
    let image =
        stdout(imagetools(&site, &["inspect", "--format", "{{range $p, $i := .Image}}{{$p}} {{end}}", &layout]));
    assert_eq!(image, "linux/amd64 linux/arm64 ");

    let back = format!("{}/back:1", registry.host());
    imagetools(&site, &["create", "-t", &back, &layout]).success();
    assert_eq!(raw(&site, &back), raw(&site, &layout));
    let stderr = imagetools(&site, &["inspect", &format!("oci-layout://{}:no", site.name("layout"))]).failure();
    assert!(stderr.ends_with(":no: not found\n"), "{stderr}");
    // Bytes that are not what their name says are refused.
    let index: Value = serde_json::from_slice(&fs::read(site.path("layout/index.json")).unwrap()).unwrap();
    let hex = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    fs::write(site.path("layout/blobs/sha256").join(hex), "{}").unwrap();
    let stderr = imagetools(&site, &["inspect", &layout]).failure();
    assert!(stderr.contains("holds other bytes than its name says"), "{stderr}");
}

fn signature_of(registry: &TestRegistry, image: &Descriptor, kind: &str) -> Value {
    let empty = registry.put_blob("app", b"{}").unwrap();
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": kind,
        "config": Descriptor::new("application/vnd.oci.empty.v1+json", empty, 2),
        "layers": [],
        "subject": Descriptor::new(&image.media_type, image.digest.clone(), image.size),
    })
}

fn signatures_go_with_their_image() {
    for keeps_lists in [true, false] {
        let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
        let image = put_image(&registry, "app:1", "linux/amd64");
        let mut list = Vec::new();
        let mut signatures = Vec::new();
        for kind in ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/x-unknown"] {
            let signature = signature_of(&registry, &image, kind);
            let descriptor = put_document(&registry, "app", None, media_type::OCI_MANIFEST, &signature);
            let mut entry = serde_json::to_value(&descriptor).unwrap();
            entry["artifactType"] = kind.into();
            list.push(entry);
            signatures.push(descriptor.digest);
        }
        let list = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": list });
        if keeps_lists {
            let body = list.to_string().into_bytes();
            registry.set_canned(&format!("/v2/app/referrers/{}", image.digest), Canned { body, ..Canned::default() });
        } else {
            let tag = format!("sha256-{}", image.digest.hex());
            put_document(&registry, "app", Some(&tag), media_type::OCI_INDEX, &list);
        }
        let (from, to) = (format!("{}/app:1", registry.host()), format!("{}/copy:1", registry.host()));
        imagetools(&site, &["create", "-t", &to, &from]).success();
        // This registry keeps no lists itself, so they are found under the tag.
        let found = raw(&site, &format!("{}/copy:sha256-{}", registry.host(), image.digest.hex()));
        let digests: Vec<&str> =
            found["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
        assert_eq!(digests, [signatures[0].as_str()], "what is not known stays");
        raw(&site, &format!("{}/copy@{}", registry.host(), signatures[0]));
    }
}

fn templates_see_configs_and_attestations() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    let image =
        Descriptor { platform: Some("linux/amd64".parse().unwrap()), ..put_image(&registry, "app", "linux/amd64") };
    let statement = |predicate: Value| json!({ "predicate": predicate }).to_string();
    let mut layers = Vec::new();
    for (kind, predicate) in [
        ("https://slsa.dev/provenance/v0.2", json!({"buildType": "x"})),
        ("https://spdx.dev/Document", json!({"SPDXID": "y"})),
    ] {
        let bytes = statement(predicate);
        let digest = registry.put_blob("app", bytes.as_bytes()).unwrap();
        let mut layer = Descriptor::new("application/vnd.in-toto+json", digest, bytes.len() as u64);
        layer.annotations.insert("in-toto.io/predicate-type".to_owned(), kind.to_owned());
        layers.push(layer);
    }
    let empty = Descriptor::new(media_type::OCI_CONFIG, registry.put_blob("app", b"{}").unwrap(), 2);
    let attestation =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": empty, "layers": layers});
    let mut attestation = put_document(&registry, "app", None, media_type::OCI_MANIFEST, &attestation);
    attestation.platform = Some("unknown/unknown".parse().unwrap());
    attestation.annotations.insert("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
    attestation.annotations.insert("vnd.docker.reference.digest".to_owned(), image.digest.to_string());
    put_index(&registry, &[image, attestation]);

    let name = format!("{}/app:all", registry.host());
    let shown = |format: &str| stdout(imagetools(&site, &["inspect", "--format", format, &name]));
    assert_eq!(shown("{{.Name}} {{.Image.OS}} {{.Image.Config.Cmd}}"), format!("{name} linux [sh]"));
    assert_eq!(shown("{{json .Provenance}}"), "{\n  \"SLSA\": {\n    \"buildType\": \"x\"\n  }\n}");
    assert_eq!(shown("{{.SBOM.SPDX.SPDXID}}"), "y");
    let all: Value = serde_json::from_str(&shown("{{json .}}")).unwrap();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "manifest", "image"]);
    assert!(shown("{{ .Manifest.Anything }}").starts_with("Name:      "));
    let stderr = imagetools(&site, &["inspect", "--format", "{{.Foo}}", &name]).failure();
    let expected =
        "ERROR: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type imagetools.tplInput\n";
    assert_eq!(stderr, expected);
}

fn mistakes_have_the_words_of_buildx() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    let image = put_image(&registry, "a:1", "linux/amd64");
    let name = format!("{}/a:1", registry.host());
    let (digest, other) = (image.digest.as_str(), format!("{}/b:1", registry.host()));
    let nothing = format!("{}/a:2", registry.host());
    registry
        .put_manifest(
            "a",
            Some("old"),
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            b"{\"schemaVersion\":1}",
        )
        .unwrap();
    let old = format!("{}/a:old", registry.host());
    for (arguments, expected) in [
        (&["create"][..], "no sources specified".to_owned()),
        (&["create", &name], "can't push with no tags specified, please set --tag or --dry-run".to_owned()),
        (
            &["create", "--dry-run", "zzz:::"],
            "failed to parse source \"zzz:::\", valid sources are digests, references and descriptors: invalid reference format".to_owned(),
        ),
        (&["create", "--dry-run", digest], "no repositories specified, please set a reference in tag or source".to_owned()),
        (
            &["create", "-t", &name, "-t", &other, digest],
            format!("multiple repositories specified, cannot infer repository for \"{digest}\""),
        ),
        (&["create", "-t", "Q:q", &name], "invalid reference format: repository name (library/Q) must be lowercase".to_owned()),
        (&["create", "--dry-run", "-f", "/nope", &name], "open /nope: no such file or directory".to_owned()),
        (&["create", "--dry-run", &old], "schema1 manifests are not allowed in manifest lists".to_owned()),
        (&["create", "--dry-run", "--annotation", "k=v", &name], "\"\" annotations are not supported yet".to_owned()),
        (&["inspect", "--raw", "--format", "x", &name], "format and raw cannot be used together".to_owned()),
        (&["inspect", &nothing], format!("{nothing}: not found")),
        (&["inspect", "zzz:::"], "invalid reference format".to_owned()),
        (&["inspect", "--format", "{{.Name", &name], "template: :1: unclosed action".to_owned()),
    ] {
        assert_eq!(imagetools(&site, arguments).failure(), format!("ERROR: {expected}\n"), "{arguments:?}");
    }
    let stderr = imagetools(&site, &["create", "--dry-run", "-p", "nope/a/b/c", &name]).failure();
    assert!(
        stderr.starts_with("ERROR: invalid platform \"nope/a/b/c\": \"nope/a/b/c\": cannot parse platform specifier"),
        "{stderr}"
    );
    let stderr = imagetools(&site, &["inspect"]).failure();
    assert!(
        stderr.starts_with("ERROR: slipway: 'slipway buildx imagetools inspect' requires 1 argument\n"),
        "{stderr}"
    );
}
