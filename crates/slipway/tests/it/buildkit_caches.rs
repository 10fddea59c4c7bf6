//! Caches that BuildKit has written (`tests/buildkit-caches`): read without an error, wherever they are kept. What they
//! hold is under BuildKit's keys, so every step runs. The other way round is tried by `scripts/interop`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slipway_test::registry::TestRegistry;

use crate::cache_remote::{assert_no_warning, ran};
use crate::site::{Site, files_below};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_folder_of_buildkit_is_read", a_folder_of_buildkit_is_read),
    test("a_tag_of_buildkit_is_read", a_tag_of_buildkit_is_read),
    test("a_folder_of_buildkit_takes_a_second_cache", a_folder_of_buildkit_takes_a_second_cache),
];

const CACHES: [&str; 3] = ["max", "docker", "zstd"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/buildkit-caches").join(name)
}

/// The build that was cached.
fn site() -> Site {
    let site = Site::new(
        "FROM busybox AS tools
COPY source /source
RUN wc -c < /source > /size && echo tool > /tool
FROM busybox
WORKDIR /work
COPY --from=tools /tool /tool
RUN --mount=type=cache,target=/c --mount=type=bind,from=tools,target=/t cat /tool > /built
ADD --chown=1:1 end /end
",
    );
    site.write("source", "source\n");
    site.write("end", "end\n");
    site
}

/// What happens to a cache from which nothing can be used: nothing.
#[track_caller]
fn assert_of_no_use(site: &Site, from: &str) {
    let outcome = site.build(&[&format!("--cache-from={from}"), "--output=../out"]).success();
    assert_no_warning(&outcome);
    assert!(outcome.stderr.contains("importing cache manifest from "), "nobody looked: {}", outcome.stderr);
    assert_eq!(ran(&outcome).len(), 6, "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(site.path("out/built")).unwrap(), "tool\n");
}

fn a_folder_of_buildkit_is_read() {
    for name in CACHES {
        assert_of_no_use(&site(), &format!("type=local,src={}", folder(name).display()));
    }
}

fn a_tag_of_buildkit_is_read() {
    let registry = TestRegistry::start().unwrap();
    for name in CACHES {
        let index: Value = serde_json::from_slice(&fs::read(folder(name).join("index.json")).unwrap()).unwrap();
        let entry = &index["manifests"][0];
        for path in files_below(&folder(name).join("blobs/sha256")) {
            let bytes = fs::read(&path).unwrap();
            let digest = registry.put_blob("theirs", &bytes).unwrap();
            if entry["digest"] == digest.to_string() {
                registry.put_manifest("theirs", Some(name), entry["mediaType"].as_str().unwrap(), &bytes).unwrap();
            }
        }
        assert_of_no_use(&site(), &format!("{}/theirs:{name}", registry.host()));
    }
}

/// Under a tag of its own. Neither loses anything.
fn a_folder_of_buildkit_takes_a_second_cache() {
    let site = site();
    let shared = site.path("cache");
    for path in files_below(&folder("max")) {
        let copy = shared.join(path.strip_prefix(folder("max")).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&path, copy).unwrap();
    }
    let place = |option: &str| format!("type=local,{option}={}", shared.display());
    assert_no_warning(&site.build(&[&format!("--cache-to={},tag=ours,mode=max", place("dest"))]).success());
    site.renew_store();
    let warm = site.build(&[&format!("--cache-from={},tag=ours", place("src"))]).success();
    assert_eq!(ran(&warm), Vec::<String>::new(), "{}", warm.stderr);
    site.renew_store();
    assert_of_no_use(&site, &place("src"));
}
