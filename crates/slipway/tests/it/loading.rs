//! `--load`: into whichever container engine answers, and always into the local store.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use slipway_oci::Digest;
use slipway_test::docker_engine::DockerEngine;

use crate::site::{Outcome, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("an_engine_gets_the_image", an_engine_gets_the_image),
    test("what_the_engine_has_is_not_sent", what_the_engine_has_is_not_sent),
    test("layers_that_the_engine_has_are_not_sent", layers_that_the_engine_has_are_not_sent),
    test("a_context_names_the_engine", a_context_names_the_engine),
    test("an_engine_elsewhere_is_reached_by_ssh", an_engine_elsewhere_is_reached_by_ssh),
    test("without_an_engine_the_store_is_enough", without_an_engine_the_store_is_enough),
    test("an_engine_that_was_named_has_to_answer", an_engine_that_was_named_has_to_answer),
    test("a_refusal_fails_the_build", a_refusal_fails_the_build),
    test("several_platforms_need_an_engine_for_them", several_platforms_need_an_engine_for_them),
];

const SMALL: &str = "FROM busybox\nRUN echo made > /made\n";

fn load(site: &Site, host: &str, arguments: &[&str]) -> Outcome {
    let mut command = site.build_command(&["--load", "--tag=app"]);
    run(command.args(arguments).arg(".").env("DOCKER_HOST", host))
}

fn socket(site: &Site) -> String {
    format!("unix://{}", site.name("engine.sock"))
}

fn images(site: &Site) -> String {
    let out = run(site.slipway().args(["images", "--format={{.Repository}}:{{.Tag}} {{.ID}}", "--no-trunc"])).success();
    String::from_utf8(out.stdout).unwrap()
}

fn an_engine_gets_the_image() {
    for keeps_manifests in [false, true] {
        let site = Site::new(SMALL);
        let engine = DockerEngine::start(&site.path("engine.sock"), keeps_manifests).unwrap();
        for host in [socket(&site), format!("tcp://{}", engine.host())] {
            load(&site, &host, &["--metadata-file=../m.json", "--no-cache"]).success();
            let id = engine.names()["docker.io/library/app:latest"].clone();
            let metadata: serde_json::Value = serde_json::from_slice(&fs::read(site.path("m.json")).unwrap()).unwrap();
            let key = if keeps_manifests { "containerimage.digest" } else { "containerimage.config.digest" };
            assert_eq!(metadata[key], id, "{metadata}");
        }
        assert!(!engine.archives().is_empty());
        // What was sent is an archive like any other.
        fs::write(site.path("sent.tar"), &engine.archives()[0]).unwrap();
        let other = Site::new(SMALL);
        run(other.slipway().arg("load").arg("--input").arg(site.path("sent.tar"))).success();
        let made = run(other.slipway().args(["run", "--rm", "app", "cat", "/made"])).success();
        assert_eq!(made.stdout, b"made\n");
        assert!(images(&site).starts_with("app:latest sha256:"));
        site.assert_tidy();
    }
}

fn what_the_engine_has_is_not_sent() {
    for keeps_manifests in [false, true] {
        let site = Site::new(SMALL);
        let engine = DockerEngine::start(&site.path("engine.sock"), keeps_manifests).unwrap();
        load(&site, &socket(&site), &[]).success();
        load(&site, &socket(&site), &["--tag=team/other:2"]).success();
        assert_eq!(engine.archives().len(), 1, "{:?}", engine.requests());
        let names = engine.names();
        assert_eq!(names["docker.io/library/app:latest"], names["docker.io/team/other:2"]);
        site.write("Dockerfile", &format!("{SMALL}LABEL a=b\n"));
        load(&site, &socket(&site), &[]).success();
        assert_eq!(engine.archives().len(), 2);
        assert_ne!(engine.names()["docker.io/library/app:latest"], names["docker.io/library/app:latest"]);
    }
}

fn layers_that_the_engine_has_are_not_sent() {
    for (keeps_manifests, takes_parts) in [(false, true), (true, true), (true, false)] {
        let site = Site::new(SMALL);
        let engine = DockerEngine::start(&site.path("engine.sock"), keeps_manifests).unwrap();
        load(&site, &socket(&site), &[]).success();
        if !takes_parts {
            engine.refuse_parts();
        }
        site.write("Dockerfile", &format!("{SMALL}RUN echo more > /more\n"));
        load(&site, &socket(&site), &[]).success();
        let [first, second] = &engine.archives()[..] else { panic!("{:?}", engine.requests()) };
        let n_blobs = |archive: &[u8]| {
            let entries = slipway_test::tar::read(archive).unwrap();
            entries.iter().filter(|entry| entry.path.starts_with("blobs/sha256/") && !entry.data.is_empty()).count()
        };
        // Manifest, config and the new layer, or all layers.
        assert_eq!((n_blobs(first), n_blobs(second)), if takes_parts { (4, 3) } else { (4, 5) });
    }
}

/// Writes a context of Docker's.
fn write_context(site: &Site, name: &str, host: &str) {
    let folder = site.path("home/.docker/contexts/meta").join(Digest::of(name.as_bytes()).hex());
    fs::create_dir_all(&folder).unwrap();
    let meta = serde_json::json!({ "Name": name, "Endpoints": { "docker": { "Host": host } } });
    fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
}

fn a_context_names_the_engine() {
    let site = Site::new(SMALL);
    let engine = DockerEngine::start(&site.path("engine.sock"), true).unwrap();
    write_context(&site, "mine", &socket(&site));
    let output = "--output=type=docker,name=app,context=mine";
    let ways: [&dyn Fn(&mut Command); 3] = [
        &|command| {
            command.arg(output);
        },
        &|command| {
            command.args(["--load", "-t", "app"]).env("DOCKER_CONTEXT", "mine");
        },
        &|command| {
            fs::write(site.path("home/.docker/config.json"), r#"{"currentContext": "mine"}"#).unwrap();
            command.args(["--load", "-t", "app"]);
        },
    ];
    for (n, way) in ways.iter().enumerate() {
        let mut command = site.slipway();
        way(command.args(["build", "--progress=plain", &busybox_flag(), &format!("--label=n={n}")]));
        run(command.arg(".")).success();
        assert_eq!(engine.archives().len(), n + 1, "{:?}", engine.requests());
    }
}

/// The program stands for ssh and for the `docker system dial-stdio` that it runs elsewhere.
fn an_engine_elsewhere_is_reached_by_ssh() {
    let site = Site::new(SMALL);
    let engine = DockerEngine::start(&site.path("engine.sock"), true).unwrap();
    let (host, port) = engine.host().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let script = format!(
        "#!/usr/bin/env bash\necho \"$@\" >> {}\nexec 3<>/dev/tcp/{host}/{port} 2>/dev/null\ncat <&3 &\ncat >&3\nkill $!\n",
        site.name("ssh.log")
    );
    let folder = site.path("bin");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("ssh"), script).unwrap();
    fs::set_permissions(folder.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    write_context(&site, "far", "ssh://me@far.example:2222");
    for (n, (variable, value)) in
        [("DOCKER_HOST", "ssh://me@far.example"), ("DOCKER_CONTEXT", "far")].into_iter().enumerate()
    {
        let mut command = site.build_command(&["--load", "--tag=app", &format!("--label=n={n}")]);
        run(command.arg(".").env(variable, value).env("PATH", &path)).success();
        assert_eq!(engine.archives().len(), n + 1, "{:?}", engine.requests());
    }
    let log = fs::read_to_string(site.path("ssh.log")).unwrap();
    let calls: Vec<&str> = log.lines().collect();
    assert!(calls.iter().all(|call| call.ends_with("-- me@far.example docker system dial-stdio")), "{log}");
    assert!(!calls[0].contains("-p") && calls.last().unwrap().starts_with("-p 2222 "), "{log}");
}

fn without_an_engine_the_store_is_enough() {
    let site = Site::new(SMALL);
    let told = load(&site, &socket(&site), &[]).success().stderr;
    assert!(told.contains("no container engine answers (unix://"), "{told}");
    assert!(told.contains("slipway's own store only"), "{told}");
    assert!(images(&site).starts_with("app:latest sha256:"));
}

fn an_engine_that_was_named_has_to_answer() {
    let site = Site::new(SMALL);
    write_context(&site, "gone", &socket(&site));
    let told = site.build(&["--output=type=docker,name=app,context=gone"]).failure();
    let expected = format!("failed to connect to the docker API at {}; check if the path is correct", socket(&site));
    assert!(told.contains(&expected), "{told}");
    let told = site.build(&["--output=type=docker,name=app,context=unknown"]).failure();
    assert!(told.contains("context \"unknown\": context not found"), "{told}");
    let told = load(&site, "npipe:////./pipe/docker_engine", &[]).failure();
    assert!(told.contains("is no address of a container engine"), "{told}");
}

fn a_refusal_fails_the_build() {
    let site = Site::new(SMALL);
    let engine = DockerEngine::start(&site.path("engine.sock"), true).unwrap();
    engine.refuse("no space left on device");
    let told = load(&site, &socket(&site), &[]).failure();
    assert!(told.contains("refuses to load the image: no space left on device"), "{told}");
    assert!(engine.names().is_empty());
}

fn several_platforms_need_an_engine_for_them() {
    for keeps_manifests in [false, true] {
        let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
        let engine = DockerEngine::start(&site.path("engine.sock"), keeps_manifests).unwrap();
        let outcome = load(&site, &socket(&site), &["--platform=linux/amd64,linux/arm64"]);
        if keeps_manifests {
            outcome.success();
            assert_eq!(engine.names().len(), 1);
        } else {
            let told = outcome.failure();
            assert!(told.contains("docker exporter does not currently support exporting manifest lists"), "{told}");
        }
    }
}
