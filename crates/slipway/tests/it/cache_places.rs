//! The places that keep caches, beside registries: buckets, the service of GitHub Actions, folders; and what can be told
//! to each.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use slipway_test::actions_cache::ActionsCache;
use slipway_test::capability::Capability;
use slipway_test::registry::{Canned, TestRegistry};

use crate::cache_remote::{assert_no_warning, digest_in, ran, site, uploads};
use crate::ports::free_port;
use crate::process::wait_until;
use crate::site::{Outcome, Site, files_below, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("the_service_of_actions_keeps_a_cache", the_service_of_actions_keeps_a_cache),
    test("a_service_that_says_nothing_is_given_up", a_service_that_says_nothing_is_given_up),
    test("a_server_that_says_nothing_is_asked_once", a_server_that_says_nothing_is_asked_once),
    test("a_registry_that_falls_silent_is_given_up", a_registry_that_falls_silent_is_given_up),
    test("a_folder_that_says_nothing_is_given_up", a_folder_that_says_nothing_is_given_up),
    test("a_folder_forgets_what_nothing_leads_to_if_asked", a_folder_forgets_what_nothing_leads_to_if_asked),
    Test { name: "a_bucket_keeps_a_cache", needs: &[Capability::S3Server], run: a_bucket_keeps_a_cache },
    Test {
        name: "large_layers_are_sent_in_parts",
        needs: &[Capability::S3Server],
        run: large_layers_are_sent_in_parts,
    },
    Test { name: "old_objects_are_renewed", needs: &[Capability::S3Server], run: old_objects_are_renewed },
    test("places_that_there_are_not_are_named", places_that_there_are_not_are_named),
];

const TOKEN: &str = "hidden-token";

fn build_with_actions(service: &ActionsCache, site: &Site, arguments: &[&str]) -> Outcome {
    let mut command = site.build_command(arguments);
    command.env("ACTIONS_RUNTIME_TOKEN", TOKEN).env("ACTIONS_RESULTS_URL", service.url());
    run(command.arg(".")).success()
}

fn the_service_of_actions_keeps_a_cache() {
    let service = ActionsCache::start(TOKEN).unwrap();
    let build = |site: &Site, arguments: &[&str]| build_with_actions(&service, site, arguments);
    let (site, fresh) = (site(), site());
    let cold = build(&site, &["--cache-to=type=gha,mode=max,scope=mine"]);
    assert_no_warning(&cold);
    let n_entries = service.entries().len();
    build(&site, &["--cache-to=type=gha,mode=max,scope=mine"]);
    assert_eq!(service.entries().len(), n_entries, "an unchanged cache makes no new entry");

    fresh.write("end", "changed\n");
    let arguments = ["--cache-from=type=gha,scope=mine", "--cache-to=type=gha,mode=max,scope=mine"];
    let warm = build(&fresh, &arguments);
    assert_eq!(ran(&warm).len(), 1, "{}", warm.stderr);
    assert_no_warning(&warm);
    let entries = service.entries();
    assert_eq!(entries.len(), n_entries + 2, "the new layer and the records under their next number");
    assert_eq!(entries.keys().filter(|key| key.starts_with("index-mine-1-")).count(), 2, "{entries:?}");
    let warm = build(&crate::cache_remote::site(), &["--cache-from=type=gha,scope=other"]);
    assert!(warm.stderr.contains("failed to import the gha cache `other`: there is no cache yet"), "{}", warm.stderr);
    assert_eq!(service.misused(), Vec::<String>::new());
    assert!([&cold, &warm].iter().all(|outcome| !outcome.stderr.contains(TOKEN)));

    let without = site.build(&["--cache-to=type=gha", "--cache-from=type=gha"]).success();
    assert_no_warning(&without);
}

fn a_service_that_says_nothing_is_given_up() {
    let service = ActionsCache::start(TOKEN).unwrap();
    service.say_nothing();
    let place = "type=gha,scope=mine,timeout=100ms";
    let outcome =
        build_with_actions(&service, &site(), &[&format!("--cache-from={place}"), &format!("--cache-to={place}")]);
    for part in [
        "WARNING: failed to import the gha cache `mine`: ",
        "WARNING: failed to export the gha cache `mine`: ",
        "it took longer than 100ms, which `timeout` allows",
    ] {
        assert!(outcome.stderr.contains(part), "`{part}` is not in: {}", outcome.stderr);
    }
}

/// Counted, not timed: each time it is asked costs the build as long as it may be silent.
fn a_server_that_says_nothing_is_asked_once() {
    let server = SilentServer::start();
    let bucket = format!(
        "type=s3,bucket=b,region=r,endpoint_url=http://{},use_path_style=true,access_key_id=a,secret_access_key=s",
        server.address
    );
    let registry = format!("type=registry,ref={}/cache:x", server.address);
    for (place, kind) in [(&registry, "registry"), (&bucket, "s3")] {
        let site = site();
        let source = format!("--cache-from={place},timeout=100ms");
        let target = format!("--cache-to={place},timeout=100ms,mode=max");
        server.n_asked();
        let outcome = site.build(&[&source, &target]).success();
        for what in ["import", "export"] {
            let warning = format!("WARNING: failed to {what} the {kind} cache `");
            let told = outcome.stderr.lines().find(|line| line.contains(&warning));
            assert!(told.is_some_and(|line| line.contains("it said nothing for 100ms")), "{}", outcome.stderr);
        }
        assert_eq!(server.n_asked(), 2, "once as a source, once as a target: {kind}");
        let strict = site.build(&[&format!("{target},ignore-error=false")]).failure();
        assert!(strict.contains(&format!("failed to solve: failed to export the {kind} cache")), "{strict}");
    }
}

/// The list of the cache is there, the layers that it promises never come.
fn a_registry_that_falls_silent_is_given_up() {
    let (registry, server) = (TestRegistry::start().unwrap(), SilentServer::start());
    let site = site();
    let place = format!("type=registry,ref={}/cache:x", registry.host());
    site.build(&[&format!("--cache-to={place},mode=max")]).success();
    // The list is the last blob that was sent.
    let digest = digest_in(&uploads(&registry).pop().unwrap());
    let body = registry.blob(&digest).unwrap();
    registry.set_canned(&format!("/v2/cache/blobs/{digest}"), Canned { body, ..Canned::default() });
    registry.redirect_blobs_to(&format!("http://{}", server.address));
    site.write("end", "changed\n");
    // What the list's registry has time for is not known either.
    let build = |limit: &&str| {
        site.renew_store();
        server.n_asked();
        site.build(&[&format!("--cache-from={place},timeout={limit}"), "--output=../out"]).success()
    };
    let mut limits = ["100ms", "2s", "60s"].iter().map(|limit| (limit, build(limit)));
    let is_listed = |outcome: &Outcome| !outcome.stderr.contains("WARNING: failed to import");
    let (limit, outcome) = limits.find(|(_, outcome)| is_listed(outcome)).unwrap();
    let warning = format!("WARNING: the cache `{}/cache:x` cannot be used", registry.host());
    let told = format!("it said nothing for {limit}");
    assert!(outcome.stderr.contains(&warning) && outcome.stderr.contains(&told), "{}", outcome.stderr);
    assert_eq!(ran(&outcome).len(), 5, "{}", outcome.stderr);
    // The layers are asked for side by side.
    let n_asked = server.n_asked();
    assert!((1..=3).contains(&n_asked), "{n_asked} times");
}

/// A server that accepts connections and never says a word.
struct SilentServer {
    address: SocketAddr,
    /// Who came, in that order.
    askers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl SilentServer {
    fn start() -> SilentServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let askers = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&askers);
        // It ends with the tests. Who is connected stays so.
        thread::spawn(move || {
            let mut connections = Vec::new();
            while let Ok((connection, asker)) = listener.accept() {
                list.lock().unwrap().push(asker);
                connections.push(connection);
            }
        });
        SilentServer { address, askers }
    }

    /// How many have asked since this was asked last.
    fn n_asked(&self) -> usize {
        // Who comes last is served last, however late the server is.
        let last = TcpStream::connect(self.address).unwrap();
        let last = last.local_addr().unwrap();
        wait_until("all were counted", || self.askers.lock().unwrap().last() == Some(&last));
        std::mem::take(&mut *self.askers.lock().unwrap()).len() - 1
    }
}

/// As on a network disk whose server is gone: who opens a file of it waits for ever.
fn a_folder_that_says_nothing_is_given_up() {
    let site = site();
    fs::create_dir(site.path("cache")).unwrap();
    run(Command::new("mkfifo").arg(site.path("cache/index.json"))).success();
    let source = format!("--cache-from=type=local,src={},timeout=100ms", site.name("cache"));
    let target = format!("--cache-to=type=local,dest={},timeout=100ms,mode=max", site.name("cache"));
    let outcome = site.build(&[&source, &target]).success();
    for what in ["import", "export"] {
        let warning = format!("WARNING: failed to {what} the local cache `{}`", site.name("cache"));
        let told = outcome.stderr.lines().find(|line| line.contains(&warning));
        assert!(told.is_some_and(|line| line.contains("it said nothing for 100ms")), "{}", outcome.stderr);
    }
    assert_eq!(fs::read_dir(site.path("cache")).unwrap().count(), 1, "nothing is written to it");
    let strict = site.build(&[&format!("{target},ignore-error=false")]).failure();
    assert!(strict.contains("failed to solve: failed to export the local cache"), "{strict}");
    site.assert_tidy();
}

fn a_folder_forgets_what_nothing_leads_to_if_asked() {
    let site = site();
    let export = |options: &str| {
        site.build(&[&format!("--cache-to=type=local,dest={},mode=max{options}", site.name("cache"))]).success()
    };
    let n_blobs = || files_below(&site.path("cache/blobs/sha256")).len();
    export(",tag=other");
    let n_of_one = n_blobs();
    site.write("end", "changed\n");
    export("");
    site.write("end", "changed again\n");
    export("");
    // A layer, the records and the manifest with each change.
    assert_eq!(n_blobs(), n_of_one + 6);
    fs::write(site.path("cache/blobs/sha256/notes"), "no blob").unwrap();
    assert_no_warning(&export(",reset=true"));
    assert_eq!(n_blobs(), n_of_one + 3 + 1, "the other tag's blobs stay, and what is no blob");
    site.renew_store();
    for tag in ["other", "latest"] {
        site.write("end", if tag == "other" { "end\n" } else { "changed again\n" });
        let warm =
            site.build(&[&format!("--cache-from=type=local,src={},tag={tag}", site.name("cache")), "--output=../out"]);
        assert_eq!(ran(&warm.success()), Vec::<String>::new(), "{tag}");
    }
}

fn places_that_there_are_not_are_named() {
    let site = site();
    let told = site.build(&["--cache-to=type=azblob,account_url=x"]).failure();
    let reason = "a cache of type azblob is not supported; there are inline, registry, local, gha and s3";
    assert!(told.contains(reason), "{told}");
    let told = site.build(&["--cache-from=type=azblob,account_url=x"]).success().stderr;
    assert!(told.contains(&format!("WARNING: failed to configure a cache importer: {reason}")), "{told}");
}

/// A server of S3 that ends with the value.
struct S3Server {
    process: Child,
    port: u16,
}

impl S3Server {
    fn start() -> S3Server {
        let port = free_port();
        let mut command = Command::new("moto_server");
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = S3Server { process: command.spawn().unwrap(), port };
        wait_until("the S3 server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// What `--cache-to` calls a cache in the bucket.
    fn place(&self) -> String {
        format!(
            "type=s3,bucket=caches,region=eu-central-1,endpoint_url=http://127.0.0.1:{},use_path_style=true,prefix=p/,name=a",
            self.port
        )
    }

    fn make_bucket(&self) {
        let mut make = Command::new("curl");
        make.args(["-fsS", "-X", "PUT", &format!("http://127.0.0.1:{}/caches", self.port)]);
        make.args([
            "-d",
            "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>",
        ]);
        assert!(make.stdout(Stdio::null()).status().unwrap().success());
    }

    /// Everything in the bucket, as the server lists it.
    fn list(&self) -> String {
        let url = format!("http://127.0.0.1:{}/caches?list-type=2", self.port);
        String::from_utf8(run(Command::new("curl").args(["-fsS", &url])).success().stdout).unwrap()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn build_with_bucket(site: &Site, arguments: &[&str]) -> Outcome {
    let mut command = site.build_command(arguments);
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "hidden-secret");
    run(command.arg(".")).success()
}

fn a_bucket_keeps_a_cache() {
    let server = S3Server::start();
    let place = server.place();
    let (site, fresh) = (site(), site());
    let missing = build_with_bucket(&site, &[&format!("--cache-to={place},mode=max")]);
    assert!(missing.stderr.contains("WARNING: failed to export the s3 cache"), "{}", missing.stderr);
    assert!(missing.stderr.contains("NoSuchBucket"), "{}", missing.stderr);
    server.make_bucket();

    for _ in 0..2 {
        assert_no_warning(&build_with_bucket(&site, &[&format!("--cache-to={place},mode=max")]));
    }
    fresh.write("end", "changed\n");
    let warm = build_with_bucket(&fresh, &[&format!("--cache-from={place}")]);
    assert_eq!(ran(&warm).len(), 1, "{}", warm.stderr);
    assert_no_warning(&warm);
    assert!(!warm.stderr.contains("hidden-secret"));
}

fn large_layers_are_sent_in_parts() {
    let server = S3Server::start();
    server.make_bucket();
    let dockerfile = "FROM busybox\nRUN head -c 40000000 /dev/urandom > /large\nRUN md5sum /large > /sum\n";
    let (site, fresh) = (Site::new(dockerfile), Site::new(dockerfile));
    let to = format!("--cache-to={},mode=max,compression=uncompressed", server.place());
    assert_no_warning(&build_with_bucket(&site, &["--output=../out", &to]));
    // The tag of an object that was sent in parts says how many there were.
    let list = server.list();
    assert_eq!(list.replace("&quot;", "\"").matches("-3\"</ETag>").count(), 1, "{list}");
    let warm = build_with_bucket(&fresh, &["--output=../out", &format!("--cache-from={}", server.place())]);
    assert_eq!(ran(&warm), Vec::<String>::new(), "{}", warm.stderr);
    for file in ["out/large", "out/sum"] {
        assert!(fs::read(site.path(file)).unwrap() == fs::read(fresh.path(file)).unwrap(), "{file}");
    }
}

fn old_objects_are_renewed() {
    let server = S3Server::start();
    server.make_bucket();
    let site = site();
    let export =
        |options: &str| build_with_bucket(&site, &[&format!("--cache-to={},mode=max{options}", server.place())]);
    export("");
    let times = || {
        let list = server.list();
        let times = list.split("<LastModified>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        times.collect::<Vec<_>>()
    };
    let first = times();
    assert!(first.len() > 3, "{first:?}");
    export("");
    assert_eq!(times(), first, "nothing is older than a day");
    // The server tells times in whole seconds, and the objects have to be older than none.
    wait_until("all objects are renewed", || {
        assert_no_warning(&export(",touch_refresh=0"));
        times().iter().zip(&first).all(|(now, first)| now > first)
    });
    let fresh = crate::cache_remote::site();
    assert_eq!(ran(&build_with_bucket(&fresh, &[&format!("--cache-from={}", server.place())])), Vec::<String>::new());
}
