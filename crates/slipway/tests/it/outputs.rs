//! Where results go, and that nothing goes anywhere when a build fails.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use slipway_test::tar;

use crate::site::{Site, files_below, run, summary_of};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("an_oci_archive_folder_and_stream_hold_the_same_image", an_oci_archive_folder_and_stream_hold_the_same_image),
    test("an_oci_folder_keeps_other_images", an_oci_folder_keeps_other_images),
    test("a_docker_archive_can_be_loaded_by_name", a_docker_archive_can_be_loaded_by_name),
    test("a_tar_holds_the_files", a_tar_holds_the_files),
    test("files_are_merged_into_a_folder", files_are_merged_into_a_folder),
    test("links_of_an_image_do_not_lead_out_of_the_folder", links_of_an_image_do_not_lead_out_of_the_folder),
    test("links_in_the_folder_do_not_lead_out_of_it", links_in_the_folder_do_not_lead_out_of_it),
    test("quiet_prints_the_id_and_nothing_else", quiet_prints_the_id_and_nothing_else),
    test("a_failed_build_leaves_nothing", a_failed_build_leaves_nothing),
    test("an_output_that_cannot_be_written_is_named", an_output_that_cannot_be_written_is_named),
    test("an_image_of_the_store_is_a_base", an_image_of_the_store_is_a_base),
];

const SMALL: &str = "FROM busybox\nRUN echo made > /made\nENV A=b\n";

fn an_oci_archive_folder_and_stream_hold_the_same_image() {
    let site = Site::new(SMALL);
    let archive = site.path("image.tar");
    site.build(&["--output=type=oci,dest=../image.tar"]).success();
    site.build(&["--output=type=oci,dest=../layout,tar=false"]).success();
    let streamed = site.build(&["--output=type=oci"]).success();
    assert_eq!(summary_of(&archive), without_tag(&summary_of(&site.path("layout"))));
    assert_eq!(streamed.stdout, fs::read(&archive).unwrap());
    let dash = site.build(&["--output=type=oci,dest=-"]).success();
    assert_eq!(dash.stdout, streamed.stdout);
}

/// A summary without the tag that an image has in a folder, where others may be beside it, though none was asked for.
pub(crate) fn without_tag(summary: &str) -> String {
    let (tagged, plain): (Vec<_>, Vec<_>) =
        summary.split_inclusive('\n').partition(|line| line.starts_with("index org.opencontainers.image.ref.name "));
    assert_eq!(tagged, ["index org.opencontainers.image.ref.name \"latest\"\n"], "{summary}");
    plain.concat()
}

fn an_oci_folder_keeps_other_images() {
    let site = Site::new(SMALL);
    let output = "--output=type=oci,dest=../layout,tar=false";
    site.build(&[output, "--tag=app:1"]).success();
    site.write("Dockerfile", "FROM busybox\nRUN echo other > /other\n");
    site.build(&[output, "--tag=app:2"]).success();
    let index: serde_json::Value = serde_json::from_slice(&fs::read(site.path("layout/index.json")).unwrap()).unwrap();
    let names: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|m| &m["annotations"]).collect();
    let tags: Vec<_> = names.iter().map(|a| a["org.opencontainers.image.ref.name"].as_str().unwrap()).collect();
    assert_eq!(tags, ["1", "2"]);
    for tag in tags {
        let reader = Site::new("FROM image\nRUN ls /\n");
        let context = format!("--build-context=image=oci-layout://{}:{tag}", site.name("layout"));
        reader.build(&[&context, "--output=../out"]).success();
        assert_eq!(reader.path("out/made").exists(), tag == "1");
        assert_eq!(reader.path("out/other").exists(), tag == "2");
    }
}

fn a_docker_archive_can_be_loaded_by_name() {
    let site = Site::new(SMALL);
    site.build(&["--output=type=docker,dest=../image.tar", "--tag=app:1", "--tag=app:2"]).success();
    let entries = tar::read(&fs::read(site.path("image.tar")).unwrap()).unwrap();
    let data = |path: &str| &entries.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("{path}")).data;
    let manifests: serde_json::Value = serde_json::from_slice(data("manifest.json")).unwrap();
    assert_eq!(manifests[0]["RepoTags"], serde_json::json!(["app:1", "app:2"]));
    data(manifests[0]["Config"].as_str().unwrap());
    assert_eq!(manifests[0]["Layers"].as_array().unwrap().len(), 2);
    summary_of(&site.path("image.tar"));
}

fn a_tar_holds_the_files() {
    let site = Site::new(
        "FROM busybox\nRUN mkdir /d && echo text > /d/f && ln -s f /d/l && chown 5:6 /d/f\nFROM scratch\nCOPY --from=0 /d /\n",
    );
    site.build(&["--output=type=tar,dest=../files.tar"]).success();
    let entries = tar::read(&fs::read(site.path("files.tar")).unwrap()).unwrap();
    let file = entries.iter().find(|entry| entry.path == "f").unwrap();
    assert_eq!((file.uid, file.gid, file.data.as_slice()), (5, 6, &b"text\n"[..]));
    assert_eq!(entries.iter().find(|entry| entry.path == "l").unwrap().link, "f");
    let streamed = site.build(&["--output=-"]).success().stdout;
    assert_eq!(streamed, fs::read(site.path("files.tar")).unwrap());
}

fn files_are_merged_into_a_folder() {
    let site = Site::new("FROM scratch\nCOPY tree /\n");
    site.write("tree/d/new", "new\n");
    site.write("tree/d/replaced", "image\n");
    fs::create_dir_all(site.path("out/d")).unwrap();
    fs::write(site.path("out/d/replaced"), "host\n").unwrap();
    fs::write(site.path("out/d/kept"), "host\n").unwrap();
    site.build(&["-o", "../out"]).success();
    let text = |name: &str| fs::read_to_string(site.path("out/d").join(name)).unwrap();
    assert_eq!([text("new"), text("replaced"), text("kept")], ["new\n", "image\n", "host\n"]);
    let own = fs::metadata(site.path("ctx/Dockerfile")).unwrap();
    assert_eq!(fs::metadata(site.path("out/d/new")).unwrap().uid(), own.uid());
}

fn links_of_an_image_do_not_lead_out_of_the_folder() {
    let site = Site::new("");
    fs::create_dir(site.path("canary")).unwrap();
    fs::write(site.path("canary/file"), "untouched").unwrap();
    // In the image, links lead to the canary by absolute and relative ways, and other entries seem to lie behind them.
    site.write(
        "Dockerfile",
        &format!(
            "FROM busybox\nRUN mkdir /i && ln -s {canary} /i/abs && ln -s ../canary /i/rel && ln -s ../../../canary/file /i/file \
             && mkdir /i/d && ln -s /etc/passwd /i/d/passwd\nFROM scratch\nCOPY --from=0 /i /\n",
            canary = site.name("canary")
        ),
    );
    // The folder has real files where the image has links, and links where it has folders.
    fs::create_dir_all(site.path("out/abs/below")).unwrap();
    symlink(site.path("canary"), site.path("out/d")).unwrap();
    site.build(&["-o", "../out"]).success();
    assert!(site.path("out/abs").is_symlink() && site.path("out/rel").is_symlink());
    assert!(!site.path("out/d").is_symlink() && site.path("out/d/passwd").is_symlink());
    assert_eq!(files_below(&site.path("canary")), [site.path("canary/file")]);
    assert_eq!(fs::read_to_string(site.path("canary/file")).unwrap(), "untouched");
}

fn links_in_the_folder_do_not_lead_out_of_it() {
    let site = Site::new("FROM scratch\nCOPY tree /\n");
    site.write("tree/d/file", "image\n");
    site.write("tree/plain", "image\n");
    fs::create_dir(site.path("canary")).unwrap();
    fs::write(site.path("canary/file"), "untouched").unwrap();
    fs::create_dir(site.path("out")).unwrap();
    symlink(site.path("canary"), site.path("out/d")).unwrap();
    symlink(site.path("canary/file"), site.path("out/plain")).unwrap();
    site.build(&["-o", "../out"]).success();
    assert_eq!(fs::read_to_string(site.path("canary/file")).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(site.path("out/d/file")).unwrap(), "image\n");
    assert_eq!(fs::read_to_string(site.path("out/plain")).unwrap(), "image\n");
}

fn quiet_prints_the_id_and_nothing_else() {
    let site = Site::new(SMALL);
    let mut command = site.slipway();
    command.args(["build", "-q", "--iidfile=../iid", &crate::site::busybox_flag(), "."]);
    let outcome = run(&mut command).success();
    let id = fs::read_to_string(site.path("iid")).unwrap();
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), format!("{id}\n"));
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(outcome.stderr, "");
}

fn a_failed_build_leaves_nothing() {
    let site = Site::new("FROM busybox\nRUN echo made > /made\nRUN exit 3\n");
    fs::write(site.path("iid"), "sha256:of-an-earlier-build").unwrap();
    for output in
        ["type=oci,dest=../image.tar", "type=docker,dest=../image.tar", "type=tar,dest=../image.tar", "../out"]
    {
        site.build(&["--iidfile=../iid", "--tag=failed:1", "-o", output]).failure();
        for left in ["iid", "image.tar", "out"] {
            assert!(!site.path(left).exists(), "{output} left {left}");
        }
    }
    site.build(&["--tag=failed:1"]).failure();
    assert!(site.store().images().unwrap().is_empty());
    site.assert_tidy();
}

fn an_output_that_cannot_be_written_is_named() {
    let site = Site::new(SMALL);
    fs::write(site.path("file"), "host").unwrap();
    for output in ["../file/below", "type=oci,dest=../file/below", "type=tar,dest=../file/below"] {
        let stderr = site.build(&["-o", output]).failure();
        assert!(stderr.lines().last().unwrap().contains("file/below"), "{stderr}");
    }
    assert_eq!(fs::read_to_string(site.path("file")).unwrap(), "host");
}

fn an_image_of_the_store_is_a_base() {
    let site = Site::new(SMALL);
    site.build(&["--tag=mine:1"]).success();
    site.write("Dockerfile", "FROM mine:1\nRUN [ \"$A\" = b ] && cat /made > /again\n");
    site.build(&["-o", "../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/again")).unwrap(), "made\n");
    // The same image again under another name, whole, with its base's layers.
    let summary = site.summary(&["--tag=mine:2"]);
    assert_eq!(summary.lines().filter(|line| line.starts_with("layer")).count(), 3, "{summary}");
}
