//! What is configured for single registries, and what is said when none can be reached.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use slipway_test::capability::Capability;
use slipway_test::registry::{Access, TestRegistry};

use crate::imagetools::put_image;
use crate::site::{Outcome, Site, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("mirrors_of_a_host_are_asked_in_order", mirrors_of_a_host_are_asked_in_order),
    test("a_named_token_service_may_see_the_password", a_named_token_service_may_see_the_password),
    test("mistakes_are_told_before_anybody_is_asked", mistakes_are_told_before_anybody_is_asked),
    test("who_cannot_be_reached_is_named_with_its_mirrors", who_cannot_be_reached_is_named_with_its_mirrors),
    Test { name: "certificates_of_hosts_are_used", needs: &[Capability::OpenSsl], run: certificates_of_hosts_are_used },
    Test {
        name: "a_full_disk_leaves_the_store_as_it_was",
        needs: &[Capability::Root],
        run: a_full_disk_leaves_the_store_as_it_was,
    },
];

fn configure(site: &Site, text: &str) {
    let folder = site.path("home/.config/slipway");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

fn slipway(site: &Site, words: &[&str]) -> Outcome {
    run(site.slipway().args(words))
}

fn mirrors_of_a_host_are_asked_in_order() {
    let (site, first, second) = (Site::new(""), TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    put_image(&second, "app:1", "linux/amd64");
    let mirrors = format!("[registry.\"a.example\"]\nmirrors = [\"{}\", \"{}\"]\n", first.url(), second.url());
    configure(&site, &mirrors);
    slipway(&site, &["imagetools", "inspect", "a.example/app:1"]).success();
    assert_eq!(first.requests().len(), 1, "the first one has been asked");
}

fn a_named_token_service_may_see_the_password() {
    let (site, registry, tokens) = (Site::new(""), TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    tokens.set_access(Access::bearer(false));
    // The same machine under another name: to the client, another site.
    let realm = format!("http://localhost:{}/token", tokens.host().rsplit(':').next().unwrap());
    let Access::Bearer { username, password, is_public, expires_in_seconds, .. } = Access::bearer(false) else {
        unreachable!("because it is made as one")
    };
    registry.set_access(Access::Bearer { realm: Some(realm), username, password, is_public, expires_in_seconds });
    let host = registry.host();
    let login = || slipway(&site, &["login", "-u", "user", "-p", "password", &host]);
    let stderr = login().failure();
    assert!(stderr.contains("were not sent to its token service at localhost"), "{stderr}");
    configure(&site, &format!("[registry.\"{host}\"]\ntoken-services = [\"localhost\"]\n"));
    login().success();
}

fn mistakes_are_told_before_anybody_is_asked() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    put_image(&registry, "app:1", "linux/amd64");
    let name = format!("{}/app:1", registry.host());
    for (text, expected) in [
        ("[registry.\"a/b\"]\n", "`a/b` in the configuration"),
        ("[registry.a]\nmirrors = [\"b\"]\n", "is no mirror of a: write `https://host[:port]`"),
        ("[registry.a]\ninsecur = true\n", "unknown field `insecur`"),
    ] {
        configure(&site, text);
        let stderr = slipway(&site, &["imagetools", "inspect", &name]).failure();
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert_eq!(registry.requests(), []);
}

fn who_cannot_be_reached_is_named_with_its_mirrors() {
    let gone = |registry: TestRegistry| registry.host();
    let (mirror, host) = (gone(TestRegistry::start().unwrap()), gone(TestRegistry::start().unwrap()));
    let site = Site::new(&format!("FROM {host}/app:1\nRUN true\n"));
    configure(&site, &format!("[registry.\"{host}\"]\nmirrors = [\"http://{mirror}\"]\n"));
    let name = format!("{host}/app:1");
    for outcome in
        [site.build(&[]), slipway(&site, &["pull", &name]), slipway(&site, &["imagetools", "inspect", &name])]
    {
        let stderr = outcome.failure();
        for part in [format!("{mirror}: cannot be reached: "), format!("{host}: cannot be reached: ")] {
            assert!(stderr.contains(&part), "`{part}` is not in: {stderr}");
        }
    }
}

fn openssl(folder: &Path, words: &str) {
    let outcome = run(Command::new("openssl").args(words.split(' ')).current_dir(folder));
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.stderr);
}

/// An authority, and certificates of it for `localhost` and for this side.
fn make_certificates(folder: &Path) {
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(folder, &format!("req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test"));
    fs::write(folder.join("extensions"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    for name in ["server", "me"] {
        openssl(folder, &format!("req {new_key} -keyout {name}.key -out {name}.csr -subj /CN=localhost"));
        let signed_by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions";
        openssl(folder, &format!("x509 -req -in {name}.csr {signed_by} -out {name}.pem"));
    }
}

/// A server that shows files to those who have a certificate. It ends with the value.
struct TlsServer {
    child: Child,
    host: String,
}

impl TlsServer {
    fn start(folder: &Path) -> TlsServer {
        let words = "s_server -accept 127.0.0.1:0 -cert server.pem -key server.key -CAfile ca.pem -Verify 1 \
                     -verify_return_error -HTTP";
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = lines.map_while(Result::ok).find(|line| line.starts_with("ACCEPT")).unwrap();
        let host = format!("localhost:{}", listens.rsplit(':').next().unwrap());
        TlsServer { child, host }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn certificates_of_hosts_are_used() {
    let site = Site::new("");
    let folder = site.path("tls");
    fs::create_dir_all(folder.join("v2/app/manifests")).unwrap();
    make_certificates(&folder);
    let body = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    fs::write(folder.join("v2/app/manifests/1"), answer).unwrap();
    let server = TlsServer::start(&folder);
    // Only as a mirror is this machine spoken to with TLS.
    let mirror = format!("[registry.\"a.example\"]\nmirrors = [\"https://{}\"]\n", server.host);
    let inspect = || slipway(&site, &["imagetools", "inspect", "--raw", "a.example/app:1"]);
    configure(&site, &mirror);
    let stderr = inspect().failure();
    assert!(stderr.contains(&format!("{}: cannot be reached: ", server.host)), "{stderr}");

    for file in ["ca.pem", "me.pem", "me.key"] {
        fs::copy(folder.join(file), site.path("home/.config/slipway").join(file)).unwrap();
    }
    let own = "ca = \"ca.pem\"\nclient-cert = \"me.pem\"\nclient-key = \"me.key\"\n";
    configure(&site, &format!("{mirror}[registry.\"{}\"]\n{own}", server.host));
    assert_eq!(String::from_utf8(inspect().success().stdout).unwrap(), body);

    // The same as Docker has them.
    configure(&site, &mirror);
    let certs = site.path("home/.config/docker/certs.d").join(&server.host);
    fs::create_dir_all(&certs).unwrap();
    for (file, name) in [("ca.pem", "ca.crt"), ("me.pem", "me.cert"), ("me.key", "me.key")] {
        fs::copy(folder.join(file), certs.join(name)).unwrap();
    }
    assert_eq!(String::from_utf8(inspect().success().stdout).unwrap(), body);
}

fn a_full_disk_leaves_the_store_as_it_was() {
    let registry = TestRegistry::start().unwrap();
    let image = |name: &str, n_bytes: usize| {
        let site = Site::new("FROM scratch\nCOPY file /\n");
        fs::write(site.path("ctx/file"), vec![b'x'; n_bytes]).unwrap();
        let name = format!("{}/{name}", registry.host());
        let output = format!("--output=type=image,name={name},push=true,compression=uncompressed");
        site.build(&[&output]).success();
        name
    };
    let (small, large) = (image("small:1", 1000), image("large:1", 40 << 20));
    let site = Site::new("");
    // A disk that holds the store and not much more, which is gone with the namespace. Manifest and config of what did
    // not fit may stay: they are whole, and small.
    let script = format!(
        "mkdir -p {store} && mount -t tmpfs -o size=24m tmpfs {store} && slipway() {{ {slipway} \"$@\"; }}\n\
         slipway pull -q {small} || exit 8\n\
         images() {{ slipway images --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}'; }}\n\
         kept() {{ (cd {store} && (find layers active -type f; find blobs -type f -size +8) | sort); }}\n\
         kept > {before}; images > {before}.images\n\
         slipway pull -q {large} && exit 9\n\
         kept > {after}; images > {after}.images\n\
         slipway fsck || exit 10\n\
         slipway pull -q {small}",
        store = site.name("store"),
        slipway = crate::site::SLIPWAY,
        before = site.name("before"),
        after = site.name("after"),
    );
    let mut command = site.with_own_environment(Command::new("unshare"));
    let outcome = run(command.args(["-m", "sh", "-c", &script])).success();
    assert!(outcome.stderr.contains("No space left on device"), "{}", outcome.stderr);
    for suffix in ["", ".images"] {
        let read = |name: &str| fs::read_to_string(site.path(&format!("{name}{suffix}"))).unwrap();
        assert_eq!(read("before"), read("after"));
    }
    assert!(fs::read_to_string(site.path("before")).unwrap().contains("layers/"));
    assert!(fs::read_to_string(site.path("before.images")).unwrap().contains("small:1 "));
    assert!(files_below(&site.path("store")).is_empty(), "the disk was in the namespace only");
}
