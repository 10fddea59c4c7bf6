//! The registry that Debian has, as it is: what goes there comes back.

use std::fs;
use std::process::{Child, Command, Stdio};

use slipway_test::capability::Capability;

use crate::Test;
use crate::imagetools::{platforms, raw};
use crate::ports::free_port;
use crate::process::wait_until;
use crate::site::{Outcome, Site, run};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "images_go_there_and_come_back", needs: NEEDS, run: images_go_there_and_come_back },
    Test { name: "parts_become_one_image_there", needs: NEEDS, run: parts_become_one_image_there },
    Test { name: "large_layers_come_in_pieces", needs: NEEDS, run: large_layers_come_in_pieces },
];

const NEEDS: &[Capability] = &[Capability::DockerRegistry];

/// `user` with the password `password`, for `htpasswd`.
const LOGIN: &str = "user:$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu\n";

/// A running registry; it ends with the value.
struct DebianRegistry {
    child: Child,
    host: String,
}

impl DebianRegistry {
    fn start(site: &Site) -> DebianRegistry {
        let host = format!("127.0.0.1:{}", free_port());
        fs::write(site.path("htpasswd"), LOGIN).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: \"{host}\"}}\n\
             storage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nauth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n",
            site.name("registry"),
            site.name("htpasswd"),
        );
        fs::write(site.path("registry.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &site.name("registry.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DebianRegistry { child, host };
        wait_until("the registry listens", || std::net::TcpStream::connect(&registry.host).is_ok());
        registry
    }

    fn log_in(&self, site: &Site) {
        let words = ["login", "-u", "user", "-p", "password", &self.host];
        run(site.slipway().args(words)).success();
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn slipway(site: &Site, words: &[&str]) -> Outcome {
    run(site.slipway().args(words))
}

fn images_go_there_and_come_back() {
    let site = Site::new("FROM busybox\nCOPY Dockerfile /a\nRUN echo built > /b\n");
    let registry = DebianRegistry::start(&site);
    let name = format!("{}/team/app:1", registry.host);
    let stderr = site.build(&["--push", "-t", &name]).failure();
    assert!(stderr.contains("push access denied"), "{stderr}");
    let wrong = slipway(&site, &["login", "-u", "user", "-p", "hidden", &registry.host]).failure();
    assert!(wrong.contains("failed with status: 401 Unauthorized"), "{wrong}");
    registry.log_in(&site);
    site.build(&["--push", "-t", &name, "--metadata-file=../pushed.json"]).success();
    let again = site.build(&["--push", "-t", &name, "--metadata-file=../again.json"]).success();
    assert!(again.steps().ran.is_empty());
    let digest = |file: &str| {
        let metadata: serde_json::Value = serde_json::from_slice(&fs::read(site.path(file)).unwrap()).unwrap();
        metadata["containerimage.digest"].as_str().unwrap().to_owned()
    };
    assert_eq!(digest("pushed.json"), digest("again.json"));

    let other = Site::new(&format!("FROM {name}\n"));
    registry.log_in(&other);
    let pulled = slipway(&other, &["pull", &name]).success();
    assert!(String::from_utf8_lossy(&pulled.stdout).contains(&digest("pushed.json")));
    let output = format!("--output={}", other.name("out"));
    other.build(&[&output]).success();
    assert_eq!(fs::read_to_string(other.path("out/b")).unwrap(), "built\n");
    let copy = format!("{}/team/copy:1", registry.host);
    slipway(&other, &["tag", &name, &copy]).success();
    slipway(&other, &["push", &copy]).success();
}

fn parts_become_one_image_there() {
    let site = Site::new("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /for-$TARGETARCH\n");
    let registry = DebianRegistry::start(&site);
    registry.log_in(&site);
    let app = format!("{}/app", registry.host);
    for platform in ["linux/amd64", "linux/arm64"] {
        let output = format!("--output=type=image,name={app},push=true,push-by-digest=true,part-of=7");
        site.build(&["--platform", platform, &output]).success();
    }
    let (name, copy) = (format!("{app}:1"), format!("{}/copy:1", registry.host));
    slipway(&site, &["merge", "--part-of=7", "--expect=linux/amd64,linux/arm64", "-t", &name]).success();
    assert_eq!(platforms(&raw(&site, &name)), ["linux/amd64", "linux/arm64"]);
    slipway(&site, &["imagetools", "create", "-t", &copy, &name]).success();
    assert_eq!(raw(&site, &copy), raw(&site, &name));
    let stderr = slipway(&site, &["imagetools", "inspect", &format!("{app}:2")]).failure();
    assert_eq!(stderr, format!("ERROR: {app}:2: not found\n"));
}

fn large_layers_come_in_pieces() {
    let site = Site::new("FROM scratch\nCOPY large /\n");
    let registry = DebianRegistry::start(&site);
    registry.log_in(&site);
    let content: Vec<u8> = (0..5_300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(site.path("ctx/large"), &content).unwrap();
    let name = format!("{}/large:1", registry.host);
    let output = format!("--output=type=image,name={name},push=true,compression=uncompressed");
    site.build(&[&output]).success();
    site.renew_store();
    fs::write(site.path("ctx/Dockerfile"), format!("FROM {name}\n")).unwrap();
    site.build(&["--output=../out"]).success();
    assert!(fs::read(site.path("out/large")).unwrap() == content);
}
