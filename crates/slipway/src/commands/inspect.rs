//! `slipway inspect`, `slipway image inspect`: all that is known of images, as `docker image inspect` shows it; and how
//! whatever else is inspected is written.

use std::io::{self, Write as _};

use serde_json::{Value, json};
use slipway_oci::{Descriptor, ImageConfig, Platform};
use slipway_store::Store;

use crate::cli::Rejected;
use crate::cli::images::{InspectArgs, InspectObjectsArgs};
use crate::commands::local_images;
use crate::commands::local_images::{
    LocalImage, LocalImageError, config_of, find, layer_sizes, open_store, platform_of, said, told,
};
use crate::go_template::{FieldTypes, Shape, Template, TemplateError, json_text};
use crate::report::CommandError;
use crate::{commands, containers, exit_code};

/// What the template can be given that is no template.
const JSON: &str = "json";

/// What can be looked for by `inspect` of Docker.
const KINDS: [&str; 10] =
    ["config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"];

/// Of which kind the fields of an image are that it may lack.
const TYPES: FieldTypes = FieldTypes {
    maps: &["Data", "ExposedPorts", "Labels", "Volumes"],
    lists: &["Cmd", "Entrypoint", "Env", "OnBuild", "Shell"],
    texts: &["OsVersion", "StopSignal", "User", "Variant", "WorkingDir"],
    pointers: &["Healthcheck"],
};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum InspectError {
    #[error("unknown type: {kind:?}: must be one of {}", KINDS.map(|known| format!("{known:?}")).join(", "))]
    Kind { kind: String },
    #[error("No such {kind}: {name}")]
    None { kind: String, name: String },
    #[error(transparent)]
    Image(#[from] LocalImageError),
}

/// `inspect`, which looks for all kinds of things: slipway describes containers, images and volumes.
pub(crate) fn run_any(args: &InspectObjectsArgs) -> Result<(), CommandError> {
    if args.size {
        io::stderr().write_all(b"WARNING: --size ignored for image\n").map_err(|error| told(&error))?;
    }
    match args.kind.as_str() {
        "" => print(&args.image, true),
        "image" => run(&args.image),
        "container" => commands::containers::inspect::run(&args.image),
        "volume" => commands::volumes::inspect(&args.image.images, &args.image.format),
        kind if KINDS.contains(&kind) => {
            let none = |name: &String| InspectError::None { kind: kind.to_owned(), name: name.clone() };
            let errors = args.image.images.iter().map(|name| format!("Error: {}\n", none(name)));
            io::stdout().write_all(b"[]\n").map_err(|error| told(&error))?;
            Err(CommandError::Told(errors.collect()))
        }
        kind => Err(said(&InspectError::Kind { kind: kind.to_owned() })),
    }
}

/// `image inspect`: prints what was found, and fails if something was not.
pub(crate) fn run(args: &InspectArgs) -> Result<(), CommandError> {
    print(args, false)
}

/// Prints images, and containers if names may be theirs.
fn print(args: &InspectArgs, may_be_containers: bool) -> Result<(), CommandError> {
    let platform = platform_of(&args.platform).map_err(|error| said(&error))?;
    let store = open_store()?;
    write(&args.images, &args.format, |name| {
        if may_be_containers && let Ok(known) = containers::find(name) {
            return Ok(commands::containers::inspect::document(&known));
        }
        document(&store, name, platform.as_ref()).map_err(|error| {
            slipway_engine::chain(&match error {
                LocalImageError::Unknown(_) if may_be_containers => {
                    InspectError::None { kind: "object".to_owned(), name: name.to_owned() }
                }
                error => error.into(),
            })
        })
    })
}

/// Prints what `describe` says of each name, as JSON or by the template `format`. All mistakes are told; one is enough
/// to fail.
pub(crate) fn write(
    names: &[String],
    format: &str,
    describe: impl Fn(&str) -> Result<Value, String>,
) -> Result<(), CommandError> {
    let format = format.trim();
    let template = match format {
        "" | JSON => None,
        format => Some(Template::parse(format).map_err(|error| {
            CommandError::Rejected(Rejected { text: format!("{error}\n"), exit_code: exit_code::TEMPLATE })
        })?),
    };
    let (mut documents, mut errors) = (Vec::new(), String::new());
    for name in names {
        match describe(name) {
            Ok(document) => documents.push(document),
            Err(message) => errors.push_str(&format!("Error: {message}\n")),
        }
    }
    let text = match &template {
        None if format == JSON => json_text(&Value::from(documents)) + "\n",
        None => pretty(&documents),
        Some(template) => lines(template, &documents).map_err(|error| CommandError::Told(format!("{error}\n")))?,
    };
    local_images::print(&text)?;
    if errors.is_empty() { Ok(()) } else { Err(CommandError::Told(errors)) }
}

fn lines(template: &Template, documents: &[Value]) -> Result<String, TemplateError> {
    documents.iter().map(|document| Ok(template.run(document, Shape::Typed(&TYPES))? + "\n")).collect()
}

/// A list with an indent of four, the way that Docker prints it.
fn pretty(documents: &[Value]) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Values of JSON are always writable, and what is written is text.
    let _ = serde::Serialize::serialize(documents, &mut serializer);
    String::from_utf8_lossy(&bytes).into_owned() + "\n"
}

fn document(store: &Store, name: &str, platform: Option<&Platform>) -> Result<Value, LocalImageError> {
    let image = find(store, name)?.for_platform(platform, name)?;
    let config = config_of(store, &image.record)?;
    let sizes = layer_sizes(store, &image.record)?;
    Ok(shown(&image, &config, sizes.iter().sum()))
}

fn shown(image: &LocalImage, config: &ImageConfig, size_bytes: u64) -> Value {
    let record = &image.record;
    let tags: Vec<String> =
        image.names.iter().filter(|name| name.tag_or_latest().is_some()).map(|name| name.familiar()).collect();
    let manifest = record.manifest.as_ref();
    let last = config.history.last();
    let mut fields = json!({
        "Id": record.config,
        "RepoTags": tags,
        "RepoDigests": image.repository_digests,
        "Parent": "",
        "Comment": last.and_then(|entry| entry.comment.as_deref()).unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": size_bytes,
        "GraphDriver": { "Data": null, "Name": "slipway" },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
        "Descriptor": manifest.map(descriptor),
        "Config": runtime(config),
    });
    if let Some(fields) = fields.as_object_mut() {
        fields
            .retain(|name, value| !value.is_null() || !["Variant", "OsVersion", "Descriptor"].contains(&name.as_str()));
    }
    fields
}

fn descriptor(descriptor: &Descriptor) -> Value {
    json!({ "mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size })
}

/// What a container gets, in the order of names; some fields are there even if they are empty.
fn runtime(config: &ImageConfig) -> Value {
    let runtime = &config.config;
    let mut fields = json!({
        "ArgsEscaped": runtime.args_escaped,
        "Cmd": list(&runtime.cmd),
        "Entrypoint": list(&runtime.entrypoint),
        "Env": list(&runtime.env),
        "ExposedPorts": runtime.exposed_ports,
        "Healthcheck": runtime.healthcheck,
        "Labels": if runtime.labels.is_empty() { Value::Null } else { json!(runtime.labels) },
        "OnBuild": list(&runtime.on_build),
        "Shell": list(&runtime.shell),
        "StopSignal": runtime.stop_signal,
        "User": runtime.user,
        "Volumes": if runtime.volumes.is_empty() { Value::Null } else { json!(runtime.volumes) },
        "WorkingDir": runtime.working_dir,
    });
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) | Value::Array(_) => false,
    };
    if let Some(fields) = fields.as_object_mut() {
        let optional = ["ArgsEscaped", "ExposedPorts", "Healthcheck", "Shell", "StopSignal"];
        fields.retain(|name, value| !optional.contains(&name.as_str()) || !is_empty(value));
    }
    fields
}

fn list(items: &[String]) -> Value {
    if items.is_empty() { Value::Null } else { json!(items) }
}

#[cfg(test)]
mod tests {
    use slipway_oci::{Digest, media_type};
    use slipway_store::ImageRecord;

    use super::*;

    /// What Docker 28.5.2 shows of an image with this config, but for the id, times and sizes.
    const CONFIG: &str = r#"{"Cmd":["sh"],"Entrypoint":null,"Env":["PATH=/bin","A=1"],"Labels":{"x":"y"},"OnBuild":null,"User":"","Volumes":null,"WorkingDir":""}"#;

    fn image() -> (LocalImage, ImageConfig) {
        let mut config = ImageConfig { architecture: "amd64".into(), os: "linux".into(), ..Default::default() };
        config.config.cmd = vec!["sh".into()];
        config.config.env = vec!["PATH=/bin".into(), "A=1".into()];
        config.config.labels.insert("x".into(), "y".into());
        let record = ImageRecord {
            manifest: Some(Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"m"), 1)),
            config: Digest::of(b"{}"),
            layers: Vec::new(),
            created: None,
            platform: config.platform(),
            registry_digest: None,
            others: Vec::new(),
        };
        let names = ["docker.io/team/app:1", "docker.io/team/app:2"].map(|name| name.parse().unwrap()).to_vec();
        let repository_digests = [format!("team/app@{}", Digest::of(b"m"))].into();
        (LocalImage { record, names, repository_digests, asked: None }, config)
    }

    #[test]
    fn the_config_has_the_fields_that_docker_shows() {
        let (image, mut config) = image();
        let document = shown(&image, &config, 7);
        assert_eq!(json_text(&document["Config"]), CONFIG);
        assert_eq!(document["RepoTags"], json!(["team/app:1", "team/app:2"]));
        assert_eq!(document["RepoDigests"], json!([format!("team/app@{}", Digest::of(b"m"))]));
        assert!(document.get("Variant").is_none() && document["Size"] == 7);
        config.config.stop_signal = "SIGINT".into();
        assert_eq!(shown(&image, &config, 7)["Config"]["StopSignal"], "SIGINT");
    }

    #[test]
    fn templates_look_into_the_document() {
        let (image, config) = image();
        let documents = [shown(&image, &config, 7)];
        let run = |text: &str| match Template::parse(text).and_then(|template| lines(&template, &documents)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        assert_eq!(run("{{.Config.Cmd}} {{json .Config.Env}}"), "[sh] [\"PATH=/bin\",\"A=1\"]\n");
        assert_eq!(run("{{index .Config.Labels \"x\"}}{{len .Config.OnBuild}}"), "y0\n");
        assert_eq!(
            run("{{.Nope}}"),
            "template parsing error: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""
        );
        assert!(pretty(&documents).starts_with("[\n    {\n        \"Id\": \"sha256:"));
        assert_eq!(pretty(&[]), "[]\n");
    }
}
