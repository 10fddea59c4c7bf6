//! `version` and `info`: what this program is, in the words that scripts look for (`spec/cli.md` section 12).
//!
//! Scripts compare Docker's numbers to know what they may ask for. So the number of the version that slipway stands in
//! for comes first, and its own is behind it.

use std::thread;

use serde_json::{Value, json};
use slipway_oci::Platform;

use crate::cli::analyze::VersionFormat;
use crate::cli::compose::ComposeVersionArgs;
use crate::cli::docker::VersionArgs;
use crate::cli::link_name;
use crate::client_config;
use crate::commands::local_images::{open_store, print, told};
use crate::go_template::{Shape, Template};
use crate::report::CommandError;

/// slipway's own version.
const OWN: &str = env!("CARGO_PKG_VERSION");
/// The version of Docker's engine whose builds slipway makes, and that of its interface.
const ENGINE: &str = concat!("28.5.2+slipway.", env!("CARGO_PKG_VERSION"));
const API: &str = "1.51";
const OLDEST_API: &str = "1.24";
/// The versions of Docker's plugins whose commands slipway has.
const BUILDX: &str = concat!("0.29.1+slipway.", env!("CARGO_PKG_VERSION"));
pub(crate) const COMPOSE: &str = concat!("2.40.3+slipway.", env!("CARGO_PKG_VERSION"));

/// What `--version` prints under one of Docker's names.
pub(crate) fn line(words: &[std::ffi::OsString]) -> String {
    match link_name::front_end(words) {
        "docker" => format!("Docker version {ENGINE}, build slipway-{OWN}\n"),
        "buildx" => buildx_line(),
        _ => format!("slipway {OWN}\n"),
    }
}

/// `dive version`: slipway's own, in the lines and fields of that program.
pub(crate) fn analyze_text(format: VersionFormat) -> String {
    let platform = Platform::host().to_string();
    match format {
        VersionFormat::Text => {
            let lines = [("Application:", "slipway"), ("Version:", OWN), ("Platform:", &platform)];
            lines.map(|(title, value)| format!("{title:<16} {value}\n")).concat()
        }
        VersionFormat::Json => {
            format!("{:#}\n", json!({"application": "slipway", "version": OWN, "platform": platform}))
        }
    }
}

/// `slipway version`.
pub(crate) fn run(args: &VersionArgs) -> Result<(), CommandError> {
    let platform = Platform::host();
    let text = match args.format.as_str() {
        "" => {
            let architecture = format!("{}/{}", platform.os, platform.architecture);
            let lines = |title: &str, indent: &str| {
                format!(
                    "{title}:\n{indent} Version:           {ENGINE}\n{indent} API version:       {API}\n{indent} \
                     OS/Arch:           {architecture}\n"
                )
            };
            format!(
                "{} Context:           default\n\nServer: slipway {OWN}\n{}",
                lines("Client", ""),
                lines(" Engine", " ")
            )
        }
        format => {
            let mut versions = versions(&platform);
            // In templates, fields have the names that they have in Go.
            if format.contains(".APIVersion") {
                for side in ["Client", "Server"] {
                    versions[side]["APIVersion"] = json!(API);
                }
            }
            templated(format, &versions)?
        }
    };
    print(&text)
}

fn versions(platform: &Platform) -> Value {
    let (os, architecture) = (&platform.os, &platform.architecture);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    json!({
        "Client": {
            "Platform": {"Name": "slipway"}, "Version": ENGINE, "ApiVersion": API, "DefaultAPIVersion": API,
            "GitCommit": OWN, "Os": os, "Arch": architecture, "Context": "default",
        },
        "Server": {
            "Platform": {"Name": "slipway"}, "Version": ENGINE, "ApiVersion": API, "MinAPIVersion": OLDEST_API,
            "GitCommit": OWN, "Os": os, "Arch": architecture, "KernelVersion": kernel,
            "Components": [{"Name": "Engine", "Version": ENGINE}],
        },
    })
}

/// `slipway info`.
pub(crate) fn info(args: &VersionArgs) -> Result<(), CommandError> {
    let store = open_store()?;
    let n_images = store.images().map_err(|error| told(&error))?.len();
    let uname = rustix::system::uname();
    let text_of = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let memory = rustix::system::sysinfo();
    let facts = json!({
        "Name": text_of(uname.nodename()),
        "ServerVersion": ENGINE,
        "OperatingSystem": "slipway",
        "OSType": "linux",
        "Architecture": text_of(uname.machine()),
        "KernelVersion": text_of(uname.release()),
        "NCPU": thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": (memory.totalram as u64).saturating_mul(u64::from(memory.mem_unit)),
        "Driver": "overlayfs",
        "DockerRootDir": client_config::store_root(),
        "Images": n_images,
        "Containers": 0,
        "ContainersRunning": 0,
        "ContainersPaused": 0,
        "ContainersStopped": 0,
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
        "ClientInfo": {"Version": ENGINE, "Context": "default", "Debug": false},
    });
    let text = match args.format.as_str() {
        "" => {
            let field = |name: &str| facts[name].as_str().map_or_else(|| facts[name].to_string(), str::to_owned);
            format!(
                "Client:\n Version:    {ENGINE}\n Context:    default\n\nServer:\n Images: {}\n Server Version: {}\n \
                 Storage Driver: {}\n Kernel Version: {}\n Operating System: {}\n OSType: {}\n Architecture: {}\n CPUs: \
                 {}\n Name: {}\n Docker Root Dir: {}\n",
                field("Images"),
                field("ServerVersion"),
                field("Driver"),
                field("KernelVersion"),
                field("OperatingSystem"),
                field("OSType"),
                field("Architecture"),
                field("NCPU"),
                field("Name"),
                field("DockerRootDir"),
            )
        }
        format => templated(format, &facts)?,
    };
    print(&text)
}

/// `slipway buildx version`: scripts take the second word for a version.
pub(crate) fn buildx() -> Result<(), CommandError> {
    print(&buildx_line())
}

fn buildx_line() -> String {
    format!("slipway/buildx v{BUILDX} {OWN}\n")
}

/// `slipway compose version`.
pub(crate) fn compose(args: &ComposeVersionArgs) -> Result<(), CommandError> {
    print(&match (args.short, args.format.as_str()) {
        (true, _) => format!("{COMPOSE}\n"),
        (false, "json") => format!("{}\n", json!({"version": COMPOSE})),
        _ => format!("Docker Compose version {COMPOSE}\n"),
    })
}

fn templated(format: &str, data: &Value) -> Result<String, CommandError> {
    let format = if format == "json" { "{{json .}}" } else { format };
    let format = format.replace("\\t", "\t").replace("\\n", "\n");
    let text = Template::parse(&format).and_then(|template| template.run(data, Shape::Map));
    text.map(|text| text + "\n").map_err(|error| CommandError::Told(format!("{error}\n")))
}
