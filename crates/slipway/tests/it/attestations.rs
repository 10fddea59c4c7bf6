//! What is said about results beside them.
//!
//! `attestations/*.json` are statements of the reference about [`DOCKERFILE`], taken as they are from the blobs of
//! `docker buildx build --network=host --build-arg FOO=2 --label q=r --secret id=tok,src=tok
//! --attest type=provenance,mode=<mode>,version=<version> -o type=oci -t example.com/app:1 .` with Docker 28.5.2.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use slipway_oci::Digest;
use slipway_test::registry::TestRegistry;

use crate::site::{Outcome, Site, busybox_layout, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("provenance_says_what_that_of_the_reference_says", provenance_says_what_that_of_the_reference_says),
    test("nothing_is_said_unless_somebody_asks", nothing_is_said_unless_somebody_asks),
    test("an_attestation_manifest_refers_to_its_image", an_attestation_manifest_refers_to_its_image),
    test(
        "registries_that_know_only_images_get_what_looks_like_one",
        registries_that_know_only_images_get_what_looks_like_one,
    ),
    test("each_platform_has_its_own", each_platform_has_its_own),
    test("files_have_statements_beside_them", files_have_statements_beside_them),
    test("files_of_platforms_have_statements_of_their_own", files_of_platforms_have_statements_of_their_own),
    test("what_is_only_for_images_is_in_images_only", what_is_only_for_images_is_in_images_only),
    test("a_stored_image_is_pushed_with_what_is_said_about_it", a_stored_image_is_pushed_with_what_is_said_about_it),
    test("the_metadata_file_says_how_the_result_was_made", the_metadata_file_says_how_the_result_was_made),
    test("no_secret_is_in_any_of_it", no_secret_is_in_any_of_it),
    test("bake_and_compose_ask_as_well", bake_and_compose_ask_as_well),
    test("packages_of_the_image_are_listed", packages_of_the_image_are_listed),
    test("packages_of_files_are_listed_beside_them", packages_of_files_are_listed_beside_them),
    test("stages_and_the_context_are_listed_if_args_say_so", stages_and_the_context_are_listed_if_args_say_so),
];

const DOCKERFILE: &str = include_str!("attestations/Dockerfile");
const SECRET: &str = "a-value-that-nobody-may-read";

fn recorded(mode: &str, version: &str) -> Value {
    let text = match (mode, version) {
        ("max", "v0.2") => include_str!("attestations/max-v0.2.json"),
        ("max", "v1") => include_str!("attestations/max-v1.json"),
        ("min", "v0.2") => include_str!("attestations/min-v0.2.json"),
        ("min", "v1") => include_str!("attestations/min-v1.json"),
        _ => panic!("{mode} {version} is not recorded"),
    };
    serde_json::from_str(text).unwrap()
}

/// A registry that stands in for Docker Hub, and has the base image.
fn hub() -> TestRegistry {
    let registry = TestRegistry::start().unwrap();
    registry.put_layout(busybox_layout(), "library/busybox", "latest").unwrap();
    registry
}

/// The place that the reference was asked in.
fn site() -> Site {
    let site = Site::new(DOCKERFILE);
    site.write("a", "hi\n");
    fs::write(site.path("tok"), SECRET).unwrap();
    site
}

fn build(site: &Site, hub: &TestRegistry, arguments: &[&str]) -> Outcome {
    let mut command = site.slipway();
    command.env("SLIPWAY_MIRROR", format!("docker.io={}", hub.url()));
    command.args(["build", "--progress=plain", "--network=host", "--build-arg=FOO=2", "--label=q=r"]);
    run(command.args(["--secret=id=tok,src=../tok", "--tag=example.com/app:1"]).args(arguments).arg("."))
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    json_of(&fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap())
}

/// What the only name in the layout stands for.
fn root(layout: &Path) -> Value {
    let index = json_of(&fs::read(layout.join("index.json")).unwrap());
    blob(layout, &index["manifests"][0])
}

/// The statements about the first image of the layout.
fn statements(layout: &Path) -> Vec<Value> {
    let index = root(layout);
    let is_said = |entry: &&Value| entry["annotations"]["vnd.docker.reference.type"] == "attestation-manifest";
    let entry = index["manifests"].as_array().unwrap().iter().find(is_said).unwrap();
    let manifest = blob(layout, entry);
    manifest["layers"].as_array().unwrap().iter().map(|layer| blob(layout, layer)).collect()
}

/// `statement` with what differs between any two builds replaced: digests, sizes, times, ids.
///
/// Also replaced is what slipway says otherwise: digests of steps are of another encoding, attributes of sources that
/// only steer transfers and the steps that load the Dockerfile are left out, and in-toto's version is that of newer
/// releases of BuildKit than the recorded one.
fn comparable(mut statement: Value) -> Value {
    statement["_type"] = json!("statement");
    replace(&mut statement);
    statement
}

fn replace(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|key, _| key != "attrs");
            let is_source_info = members.contains_key("language");
            members.retain(|key, _| !is_source_info || !matches!(key.as_str(), "llbDefinition" | "digestMapping"));
            for (key, member) in members.iter_mut() {
                match key.as_str() {
                    "digestMapping" => {
                        let mut names: Vec<Value> = member.as_object().unwrap().values().cloned().collect();
                        names.sort_by_key(Value::to_string);
                        *member = names.into();
                    }
                    "buildInvocationID" | "invocationId" => {
                        assert_eq!(member.as_str().unwrap().len(), 25);
                        *member = json!("id");
                    }
                    "buildStartedOn" | "buildFinishedOn" | "startedOn" | "finishedOn" => {
                        assert!(member.as_str().unwrap().ends_with('Z'));
                        *member = json!("time");
                    }
                    "size" => *member = json!("size"),
                    _ => replace(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(replace),
        // The base image of the tests has a layer that is not compressed.
        Value::String(text) => *text = without_digest(text.trim_end_matches("+gzip")),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn without_digest(text: &str) -> String {
    let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.split_at_checked(text.len().saturating_sub(64)) {
        Some((before, digest)) if is_hex(digest) => format!("{before}digest"),
        _ => text.to_owned(),
    }
}

fn provenance_says_what_that_of_the_reference_says() {
    let (hub, site) = (hub(), site());
    for mode in ["max", "min"] {
        for version in ["v0.2", "v1"] {
            let dest = format!("{mode}-{version}");
            let attest = format!("--attest=type=provenance,mode={mode},version={version}");
            let output = format!("--output=type=oci,tar=false,dest=../{dest}");
            build(&site, &hub, &[&attest, &output]).success();
            let said = statements(&site.path(&dest));
            assert_eq!(said.len(), 1);
            let (own, reference) = (comparable(said[0].clone()), comparable(recorded(mode, version)));
            assert_eq!(
                serde_json::to_string_pretty(&own).unwrap(),
                serde_json::to_string_pretty(&sorted_as(&own, reference)).unwrap(),
                "{mode} {version}"
            );
            assert_eq!(own["subject"], comparable(recorded(mode, version))["subject"]);
        }
    }
}

/// `value` with its members in the order of `model`, as far as that has them.
fn sorted_as(model: &Value, value: Value) -> Value {
    match (model, value) {
        (Value::Object(model), Value::Object(mut members)) => {
            let mut sorted = serde_json::Map::new();
            for (key, model) in model {
                if let Some(member) = members.remove(key) {
                    sorted.insert(key.clone(), sorted_as(model, member));
                }
            }
            sorted.extend(members);
            sorted.into()
        }
        (Value::Array(model), Value::Array(items)) => {
            let nothing = Value::Null;
            let models = model.iter().chain(std::iter::repeat(&nothing));
            items.into_iter().zip(models).map(|(item, model)| sorted_as(model, item)).collect()
        }
        (_, value) => value,
    }
}

fn nothing_is_said_unless_somebody_asks() {
    let site = Site::new("FROM busybox\n");
    for flags in [&[][..], &["--provenance=false"], &["--attest=type=provenance", "--provenance=false"]] {
        site.build(&[flags, &["--output=type=oci,tar=false,dest=../out"]].concat()).success();
        assert!(root(&site.path("out"))["layers"].is_array(), "{flags:?}");
    }
    let stderr = site.build(&["--provenance=true", "--output=type=docker,dest=../docker.tar"]).failure();
    let expected = "docker exporter does not support exporting manifest lists, use the oci exporter instead";
    assert!(stderr.contains(expected), "{stderr}");
}

/// As recorded of the reference with `oci-artifact=true`.
fn an_attestation_manifest_refers_to_its_image() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM busybox\n");
    let name = format!("{}/app:1", registry.host());
    site.build(&["--provenance=mode=min", "--push", "--tag", &name, "--iidfile=../iid"]).success();
    let fetch = |digest: &str| json_of(&registry.blob(&digest.parse().unwrap()).unwrap());
    let id = fs::read_to_string(site.path("iid")).unwrap();
    let index = fetch(&id);
    let [image, said] = &index["manifests"].as_array().unwrap()[..] else { panic!("{index}") };
    assert_eq!(said["platform"], json!({"architecture": "unknown", "os": "unknown"}));
    assert_eq!(
        said["annotations"],
        json!({"vnd.docker.reference.digest": image["digest"], "vnd.docker.reference.type": "attestation-manifest"})
    );
    let manifest = fetch(said["digest"].as_str().unwrap());
    assert_eq!(manifest["artifactType"], "application/vnd.docker.attestation.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(manifest["config"]["data"], "e30=");
    assert_eq!(fetch(manifest["config"]["digest"].as_str().unwrap()), json!({}));
    assert_eq!(manifest["subject"]["digest"], image["digest"]);
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
    assert_eq!(layer["annotations"], json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}));
    let statement = fetch(layer["digest"].as_str().unwrap());
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    let digest = image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let called = format!("pkg:docker/{}/app@1?platform=linux%2Famd64", registry.host());
    assert_eq!(statement["subject"], json!([{"name": called, "digest": {"sha256": digest}}]));
}

/// As recorded of the reference with `oci-artifact=false`.
fn registries_that_know_only_images_get_what_looks_like_one() {
    let site = Site::new("FROM busybox\n");
    let output = "--output=type=oci,tar=false,oci-artifact=false,dest=../out";
    site.build(&["--provenance=mode=min", output]).success();
    let layout = site.path("out");
    let manifest = blob(&layout, &root(&layout)["manifests"][1]);
    assert_eq!(manifest.get("subject").or(manifest.get("artifactType")), None);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let rootfs = json!({"type": "layers", "diff_ids": [manifest["layers"][0]["digest"]]});
    assert_eq!(
        blob(&layout, &manifest["config"]),
        json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs})
    );
    // Without a name there is nothing to say it about by name.
    assert_eq!(statements(&layout)[0]["subject"], json!([]));
}

fn each_platform_has_its_own() {
    let site = Site::new("FROM scratch\nARG TARGETARCH\nCOPY a /$TARGETARCH\n");
    site.write("a", "a");
    let flags = ["--platform=linux/amd64,linux/arm64", "--provenance=mode=min", "--tag=app"];
    site.build(&[&flags[..], &["--output=type=oci,tar=false,dest=../out"]].concat()).success();
    let layout = site.path("out");
    let index = root(&layout);
    let entries = index["manifests"].as_array().unwrap();
    let architectures: Vec<&Value> = entries.iter().map(|entry| &entry["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64", "unknown", "unknown"]);
    for (image, said) in [(0, 2), (1, 3)] {
        assert_eq!(entries[said]["annotations"]["vnd.docker.reference.digest"], entries[image]["digest"]);
        let manifest = blob(&layout, &entries[said]);
        let name = blob(&layout, &manifest["layers"][0])["subject"][0]["name"].clone();
        let architecture = architectures[image].as_str().unwrap();
        assert_eq!(name, format!("pkg:docker/app@latest?platform=linux%2F{architecture}"));
    }
}

fn files_have_statements_beside_them() {
    let site = Site::new("FROM scratch\nCOPY a b /d/\n");
    ["a", "b"].iter().for_each(|name| site.write(name, name));
    site.build(&["--provenance=mode=max", "--output=../out", "--output=type=tar,dest=../out.tar"]).success();
    let text = fs::read(site.path("out/provenance.json")).unwrap();
    let statement = json_of(&text);
    assert!(text.starts_with(b"{\n  \"_type\""));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(site.path("out/provenance.json")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let subject = |name: &str, text: &[u8]| json!({"name": name, "digest": {"sha256": Digest::of(text).hex()}});
    assert_eq!(statement["subject"], json!([subject("d/a", b"a"), subject("d/b", b"b")]));
    let tar = slipway_test::tar::read(&fs::read(site.path("out.tar")).unwrap()).unwrap();
    let paths: Vec<&str> = tar.iter().map(|entry| entry.path.trim_end_matches('/')).collect();
    assert_eq!(paths, ["d", "d/a", "d/b", "provenance.json"]);
}

fn files_of_platforms_have_statements_of_their_own() {
    let site = Site::new("FROM scratch\nARG TARGETARCH\nCOPY a /$TARGETARCH\n");
    site.write("a", "a");
    let build = |output: &str| {
        let leave = "--allow=buildx.local.delete";
        let platforms = "--platform=linux/amd64,linux/arm64";
        site.build(&[platforms, leave, "--provenance=mode=min", "--output", output]).success();
    };
    build("type=local,mode=delete,dest=../split");
    build("type=local,dest=../joined,platform-split=false,attestation-prefix=zz-");
    for made in [
        "split/linux_amd64/amd64",
        "split/linux_amd64/provenance.json",
        "split/linux_arm64/arm64",
        "split/linux_arm64/provenance.json",
        "joined/zz-provenance.linux_amd64.json",
        "joined/zz-provenance.linux_arm64.json",
        "joined/amd64",
        "joined/arm64",
    ] {
        assert!(site.path(made).is_file(), "{made}");
    }
}

fn what_is_only_for_images_is_in_images_only() {
    let site = Site::new("FROM scratch\nCOPY a /\n");
    site.write("a", "a");
    let flags = ["--provenance=mode=min,inline-only=true", "--tag=app"];
    let archive = "--output=type=oci,tar=false,dest=../archive";
    let inline = "--output=type=oci,tar=false,dest=../inline,attestation-inline=true";
    let outputs = ["--output=../files", archive, inline, "--output=type=docker,dest=../docker.tar"];
    site.build(&[&flags[..], &outputs, &["--output=type=image", "--metadata-file=../m.json"]].concat()).success();
    assert!(!site.path("files/provenance.json").exists());
    assert!(root(&site.path("archive"))["layers"].is_array());
    assert_eq!(statements(&site.path("inline")).len(), 1);
    let metadata = json_of(&fs::read(site.path("m.json")).unwrap());
    assert_eq!(metadata["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.index.v1+json");
}

fn a_stored_image_is_pushed_with_what_is_said_about_it() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM busybox\nRUN echo > /made\n");
    let name = format!("{}/app:1", registry.host());
    site.build(&["--provenance=mode=min", "--tag", &name, "--iidfile=../iid"]).success();
    run(site.slipway().args(["prune", "--force", "--all"])).success();
    run(site.slipway().args(["push", &name])).success();
    let id: Digest = fs::read_to_string(site.path("iid")).unwrap().parse().unwrap();
    let index = json_of(&registry.blob(&id).unwrap());
    let said: Digest = index["manifests"][1]["digest"].as_str().unwrap().parse().unwrap();
    let manifest = json_of(&registry.blob(&said).unwrap());
    registry.blob(&manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap()).unwrap();
    // What is said about an image is no image that one could build on.
    site.write("Dockerfile", &format!("FROM {name}\nRUN test -e /made\n"));
    site.build(&[]).success();
    site.renew_store();
    site.build(&[]).success();
    site.assert_tidy();
}

fn the_metadata_file_says_how_the_result_was_made() {
    let (hub, site) = (hub(), site());
    let metadata = |variable: &str, flags: &[&str]| {
        let mut command = site.slipway();
        command.env("SLIPWAY_MIRROR", format!("docker.io={}", hub.url())).env("BUILDX_METADATA_PROVENANCE", variable);
        command.args(["build", "--progress=plain", "--build-arg=FOO=2", "--metadata-file=../m.json"]);
        run(command.args(["--secret=id=tok,src=../tok"]).args(flags).arg(".")).success();
        json_of(&fs::read(site.path("m.json")).unwrap())
    };
    let least = metadata("", &["--provenance=false"]);
    let provenance = &least["buildx.build.provenance"];
    let members: Vec<&String> = provenance.as_object().unwrap().keys().collect();
    assert_eq!(members, ["builder", "buildType", "materials", "invocation"]);
    // As the reference, which leaves out less here than in what it calls `min` elsewhere.
    assert_eq!(provenance["invocation"]["parameters"]["args"], json!({"build-arg:FOO": "2"}));
    assert_eq!(provenance["invocation"]["parameters"]["secrets"], json!([{"id": "tok", "optional": true}]));
    assert!(metadata("max", &[])["buildx.build.provenance"]["buildConfig"].is_object());
    assert_eq!(metadata("disabled", &["--provenance=mode=max"]).get("buildx.build.provenance"), None);
    site.write("Dockerfile", "FROM scratch\nCOPY a /\n");
    let several = metadata("min", &["--platform=linux/amd64,linux/arm64"]);
    assert!(several["buildx.build.provenance/linux/arm64"]["buildType"].is_string(), "{several}");
}

fn no_secret_is_in_any_of_it() {
    let (hub, site) = (hub(), site());
    let outputs = ["--output=type=oci,tar=false,dest=../out", "--output=../files", "--output=type=image"];
    let flags = ["--provenance=mode=max", "--metadata-file=../m.json"];
    build(&site, &hub, &[&flags[..], &outputs].concat()).success();
    for folder in ["out", "files", "store"] {
        for file in crate::site::files_below(&site.path(folder)) {
            let bytes = fs::read(&file).unwrap();
            assert!(!slipway_test::image::contains_inside(&bytes, SECRET.as_bytes()), "{}", file.display());
        }
    }
    assert!(!fs::read_to_string(site.path("m.json")).unwrap().contains(SECRET));
}

fn bake_and_compose_ask_as_well() {
    let site = Site::new("FROM scratch\nCOPY a /\n");
    site.write("a", "a");
    let hcl = r#"target "default" {
        attest = ["type=provenance,mode=min"]
        output = ["type=oci,tar=false,dest=../bake"]
    }"#;
    site.write("docker-bake.hcl", hcl);
    let bake = |arguments: &[&str]| {
        let mut command = site.slipway();
        command.env("BUILDX_BAKE_ENTITLEMENTS_FS", "0").args(["bake", "--progress=plain"]);
        run(command.args(arguments)).success();
    };
    bake(&[]);
    assert_eq!(statements(&site.path("bake")).len(), 1);
    bake(&["--provenance=false", "--set=*.output=type=oci,tar=false,dest=../none"]);
    assert!(root(&site.path("none"))["layers"].is_array());
    site.write(
        "compose.yaml",
        "services:\n  app:\n    image: app\n    build:\n      context: .\n      provenance: mode=min\n",
    );
    run(site.slipway().args(["compose", "build"])).success();
    run(site.slipway().args(["save", "--output=../app.tar", "app"])).success();
    let tar = slipway_test::tar::read(&fs::read(site.path("app.tar")).unwrap()).unwrap();
    let index = tar.iter().find(|entry| entry.path == "index.json").unwrap();
    assert!(String::from_utf8_lossy(&index.data).contains("image.index"), "{:?}", String::from_utf8_lossy(&index.data));
}

const PACKED: &str = "FROM busybox\nCOPY status /var/lib/dpkg/status\nCOPY os-release /etc/os-release\nCOPY app /srv/app\n\
                      COPY gone.lock /Cargo.lock\nRUN rm /Cargo.lock\n";

/// A place whose image has a package of Debian and one of npm, and had one of Cargo in a layer below.
fn packed() -> Site {
    let site = Site::new(PACKED);
    site.write("status", "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n");
    site.write("os-release", "ID=debian\nVERSION_ID=12\n");
    site.write("app/package-lock.json", r#"{"packages": {"node_modules/left-pad": {"version": "1.3.0"}}}"#);
    site.write("gone.lock", "[[package]]\nname = \"x\"\nversion = \"1\"\nsource = \"registry+x\"\n");
    site
}

fn purls(document: &Value) -> Vec<&str> {
    let packages = document["packages"].as_array().unwrap().iter();
    packages.filter_map(|package| package["externalRefs"][0]["referenceLocator"].as_str()).collect()
}

const PURLS: [&str; 2] = ["pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12", "pkg:npm/left-pad@1.3.0"];

fn packages_of_the_image_are_listed() {
    let site = packed();
    let flags = ["--sbom=true", "--provenance=mode=min", "--tag=app", "--output=type=oci,tar=false,dest=../out"];
    site.build(&flags).success();
    let said = statements(&site.path("out"));
    let kinds: Vec<&Value> = said.iter().map(|statement| &statement["predicateType"]).collect();
    assert_eq!(kinds, ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]);
    assert_eq!(said[0]["subject"], said[1]["subject"]);
    let document = &said[0]["predicate"];
    assert_eq!((&document["spdxVersion"], &document["name"]), (&json!("SPDX-2.3"), &json!("app:latest")));
    assert_eq!(purls(document), PURLS);
    // With a time of its own it is the same each time.
    let twice = ["one", "two"].map(|name| {
        let output = format!("--output=type=oci,tar=false,dest=../{name}");
        site.build(&["--attest=type=sbom", "--build-arg=SOURCE_DATE_EPOCH=1700000000", &output]).success();
        statements(&site.path(name)).remove(0)["predicate"].clone()
    });
    assert_eq!(twice[0], twice[1]);
    assert_eq!(twice[0]["creationInfo"]["created"], "2023-11-14T22:13:20Z");
}

fn packages_of_files_are_listed_beside_them() {
    let site = packed();
    site.build(&["--sbom=true", "--output=../out"]).success();
    let statement = json_of(&fs::read(site.path("out/sbom.spdx.json")).unwrap());
    assert_eq!(purls(&statement["predicate"]), PURLS);
    assert!(!site.path("out/provenance.json").exists());
    let stderr = site.build(&["--sbom=generator=me/mine"]).failure();
    assert!(stderr.contains("does not run the generator `me/mine`"), "{stderr}");
}

/// The names and their order are those of the reference: the image first, then the files of the scanner's folder.
fn stages_and_the_context_are_listed_if_args_say_so() {
    let lock = |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1\"\nsource = \"registry+x\"\n");
    let site = Site::new(
        "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nARG BUILDKIT_SBOM_SCAN_STAGE=tools,image\n\
         FROM scratch AS tools\nCOPY tools.lock /Cargo.lock\nFROM scratch AS other\nCOPY other.lock /Cargo.lock\n\
         FROM scratch AS image\nCOPY --from=tools /Cargo.lock /app/\nCOPY --from=other /Cargo.lock /tmp/\n",
    );
    for name in ["tools", "other"] {
        site.write(&format!("{name}.lock"), &lock(name));
    }
    site.write("src/Cargo.lock", &lock("built"));
    site.write("ignored/Cargo.lock", &lock("ignored"));
    site.write(".dockerignore", "ignored\n");
    let (image, context, tools) =
        (vec!["pkg:cargo/other@1", "pkg:cargo/tools@1"], vec!["pkg:cargo/built@1"], vec!["pkg:cargo/tools@1"]);

    site.build(&["--sbom=true", "--tag=app", "--output=type=oci,tar=false,dest=../out"]).success();
    let said = statements(&site.path("out"));
    let names: Vec<&Value> = said.iter().map(|statement| &statement["predicate"]["name"]).collect();
    assert_eq!(names, ["app:latest", "sbom-context", "sbom-tools"]);
    let listed: Vec<Vec<&str>> = said.iter().map(|statement| purls(&statement["predicate"])).collect();
    assert_eq!(listed, [image, context, tools]);
    for statement in &said {
        assert_eq!(statement["predicateType"], "https://spdx.dev/Document");
        assert_eq!(statement["subject"], said[0]["subject"]);
    }

    let no_context = "--build-arg=BUILDKIT_SBOM_SCAN_CONTEXT=false";
    site.build(&["--sbom=true", no_context, "--output=../files"]).success();
    let has = |name: &str| site.path(&format!("files/{name}")).exists();
    assert_eq!(["sbom.spdx.json", "sbom-context.spdx.json", "sbom-tools.spdx.json"].map(has), [true, false, true]);
    // Who asks for no list pays for none.
    let stderr = site.build(&["--provenance=true"]).success().stderr;
    assert!(!stderr.contains("listing packages"), "{stderr}");
}
