use super::*;
use crate::request::flags::testing::Made;
use crate::request::{Annotated, Compression, OutputEpoch, Push};

const NO_FLAGS: OutputFlags<'_> = OutputFlags {
    outputs: &[],
    pushes: false,
    loads: false,
    annotations: &[],
    has_several_platforms: false,
    has_iidfile: false,
    allows_delete: false,
    is_attested: false,
};

fn made() -> Made {
    Made::default().with_path(".", PathKind::Folder).with_path("file", PathKind::File)
}

fn read(texts: &[&str], tag: &[&str], flags: &OutputFlags<'_>) -> Result<Vec<Output>, String> {
    let outputs: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    let tags: Vec<Reference> = tag.iter().map(|tag| tag.parse().unwrap()).collect();
    let flags = OutputFlags { outputs: &outputs, ..*flags };
    parse(&flags, &tags, &made()).map_err(|error| error.to_string())
}

fn image(names: &[&str], push: Option<Push>) -> ImageOutput {
    ImageOutput { push, ..ImageOutput::stored(names.iter().map(|name| name.parse().unwrap()).collect()) }
}

/// As an archive or an engine gets it.
fn archived(names: &[&str]) -> ImageOutput {
    ImageOutput { keeps_inline_only: false, ..image(names, None) }
}

#[test]
fn places_are_read() {
    let local = |dest: &str| Output::Local { dest: dest.into(), deletes_others: false, files: FilesOutput::default() };
    let split = |splits: bool| FilesOutput { splits: Some(splits), ..FilesOutput::default() };
    for (text, expected) in [
        ("out", local("out")),
        ("dest=x", local("dest=x")),
        ("type=local,dest=.", local(".")),
        (
            "type=local,dest=a/b,mode=delete,platform-split=true",
            Output::Local { dest: "a/b".into(), deletes_others: true, files: split(true) },
        ),
        ("-", Output::Tar { dest: Destination::Stdout, files: FilesOutput::default() }),
        ("type=tar", Output::Tar { dest: Destination::Stdout, files: FilesOutput::default() }),
        (
            "type=tar,source-date-epoch=-7",
            Output::Tar {
                dest: Destination::Stdout,
                files: FilesOutput { epoch: OutputEpoch::Seconds(-7), ..FilesOutput::default() },
            },
        ),
        (
            "type=tar,dest=x.tar,platform-split=0",
            Output::Tar { dest: Destination::File("x.tar".into()), files: split(false) },
        ),
        ("type=cacheonly", Output::CacheOnly),
        ("TYPE=oci,dest=l,tar=false", Output::Oci { dest: Destination::Folder("l".into()), image: archived(&[]) }),
        (
            "type=docker,dest=d.tar,name=x",
            Output::Docker { dest: Destination::File("d.tar".into()), image: archived(&["x:latest"]) },
        ),
        ("type=docker", Output::Load { context: None, image: archived(&[]) }),
        ("type=docker,context=remote", Output::Load { context: Some("remote".to_owned()), image: archived(&[]) }),
    ] {
        assert_eq!(read(&[text], &[], &NO_FLAGS), Ok(vec![expected]), "{text}");
    }
}

/// As recorded of the reference.
#[test]
fn tags_go_before_the_names_of_the_output() {
    let pushed = Some(Push::default());
    assert_eq!(read(&["type=registry"], &["app:1"], &NO_FLAGS), Ok(vec![Output::Image(image(&["app:1"], pushed))]));
    let text = r#"type=image,"name=a,b:2""#;
    assert_eq!(read(&[text], &["app:1"], &NO_FLAGS), Ok(vec![Output::Image(image(&["app:1"], None))]));
    assert_eq!(read(&[text], &[], &NO_FLAGS), Ok(vec![Output::Image(image(&["a:latest", "b:2"], None))]));
    assert_eq!(read(&["type=image,name=*"], &[], &NO_FLAGS), Ok(vec![Output::Image(image(&[], None))]));
}

fn only_image(text: &str) -> Result<ImageOutput, String> {
    match read(&[text], &[], &NO_FLAGS)?.remove(0) {
        Output::Image(image) => Ok(image),
        other => panic!("{text} gave {other:?}"),
    }
}

#[test]
fn options_of_images_are_read() {
    let stored = || ImageOutput::stored(vec!["a:latest".parse().unwrap()]);
    let prefix = || Some("dang".parse().unwrap());
    for (text, expected) in [
        ("store=false", ImageOutput { is_stored: false, ..stored() }),
        ("unpack=true,prefer-nondist-layers=true,oci-artifact=true,no-such-option=1", stored()),
        ("dangling-name-prefix=dang", ImageOutput { dangling_prefix: prefix(), ..stored() }),
        ("dangling-name-prefix=dang,danging-name-empty-only=true", stored()),
        ("name-canonical=", ImageOutput { is_named_by_digest: true, ..stored() }),
        ("force-compression=1", ImageOutput { forces_compression: true, ..stored() }),
        (
            "rewrite-timestamp=true,source-date-epoch=7",
            ImageOutput { rewrites_times: true, epoch: OutputEpoch::Seconds(7), ..stored() },
        ),
        ("oci-mediatypes=f", ImageOutput { uses_oci_types: false, attests_by_artifact: false, ..stored() }),
        ("oci-artifact=false", ImageOutput { attests_by_artifact: false, ..stored() }),
        ("attestation-inline=false", ImageOutput { keeps_inline_only: false, ..stored() }),
        ("compression-level=9", ImageOutput { compression_level: Some(9), ..stored() }),
        ("compression-level=-1", stored()),
        (
            "compression=zstd,compression-level=99",
            ImageOutput { compression: Compression::Zstd, compression_level: Some(22), ..stored() },
        ),
        (
            "compression=uncompressed,compression-level=5",
            ImageOutput { compression: Compression::Uncompressed, ..stored() },
        ),
    ] {
        assert_eq!(only_image(&format!("type=image,name=a,{text}")), Ok(expected), "{text}");
    }
}

#[test]
fn parts_are_pushed_by_digest() {
    let text = "type=image,push=true,push-by-digest=true,part-of=7,name=a/b";
    let by_digest = Some(Push { by_digest: true, ..Push::default() });
    assert_eq!(only_image(text), Ok(ImageOutput { part_of: Some("7".into()), ..image(&["a/b"], by_digest) }));
    for (text, expected) in [
        ("type=image,push=true,part-of=7,name=a/b", "`part-of` needs `push=true,push-by-digest=true`"),
        ("type=image,push=true,push-by-digest=true,part-of=a/b,name=a/b", "`part-of=a/b` names no run"),
    ] {
        assert!(only_image(text).unwrap_err().starts_with(expected), "{text}");
    }
}

#[test]
fn what_is_pushed_by_digest_has_no_tag() {
    let by_digest = Some(Push { by_digest: true, ..Push::default() });
    let text = "type=image,push=true,push-by-digest=true,name=a/b";
    assert_eq!(only_image(text), Ok(image(&["a/b"], by_digest)));
    let error = "failed to push docker.io/a/b:1: can't push tagged ref docker.io/a/b:1 by digest";
    assert_eq!(only_image(&format!("{text}:1")), Err(error.to_owned()));
}

#[test]
fn annotations_of_the_output_go_before_those_of_all() {
    let flags = OutputFlags { annotations: &["a=all".to_owned(), "b=all".to_owned()], ..NO_FLAGS };
    let outputs = read(&["type=image,annotation.a=own,annotation-manifest[linux/arm64].c=arm"], &[], &flags).unwrap();
    let [Output::Image(image)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let on = |platform: Option<&str>| {
        let platform = platform.map(|platform| platform.parse().unwrap());
        let found = image.annotations_on(Annotated::Manifest, platform.as_ref());
        found.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(on(None), ["a=own", "b=all"]);
    assert_eq!(on(Some("linux/arm64")), ["a=own", "b=all", "c=arm"]);
    assert_eq!(on(Some("linux/amd64")), ["a=own", "b=all"]);
}

#[test]
fn push_and_load_add_what_is_missing() {
    let pushed = Output::Image(image(&["a:1"], Some(Push::default())));
    let loaded = Output::Load { context: None, image: archived(&["a:1"]) };
    let push = OutputFlags { pushes: true, ..NO_FLAGS };
    let both = OutputFlags { loads: true, ..push };
    assert_eq!(read(&[], &["a:1"], &push), Ok(vec![pushed.clone()]));
    assert_eq!(read(&["type=image"], &["a:1"], &push), Ok(vec![pushed.clone()]));
    assert_eq!(read(&["type=docker"], &["a:1"], &both), Ok(vec![loaded.clone(), pushed.clone()]));
    assert_eq!(read(&[], &["a:1"], &both), Ok(vec![pushed, loaded]));
}

#[test]
fn bad_outputs_are_refused() {
    for (texts, expected) in [
        (&["type=local"][..], "dest is required for local exporter"),
        (&["type=oci,tar=false"], "dest is required for oci exporter"),
        (&["type=local,dest=-"], "dest cannot be stdout for local exporter"),
        (&["type=local,dest=file"], "destination directory file is a file"),
        (&["type=tar,dest=."], "destination file . is a directory"),
        (&["a=b,c"], "invalid value c"),
        (&["a=b,c=d"], "type is required for output"),
        (&["-", "type=oci,dest=-"], "multiple outputs configured to write to stdout"),
        (&["type=foo"], "exporter \"foo\" could not be found"),
        (&["type=registry"], "tag is needed when pushing to registry"),
        (
            &["type=local,dest=.,mode=delete"],
            "local output mode=delete for destination \".\" requires --allow=buildx.local.delete",
        ),
        (&["type=local,dest=x,mode=zz"], "invalid local exporter mode \"zz\""),
        (
            &["type=image,push=zz"],
            "non-bool value specified for push: strconv.ParseBool: parsing \"zz\": invalid syntax",
        ),
        (
            &["type=local,dest=x,platform-split=zz"],
            "non-bool value for platform-split: zz: strconv.ParseBool: parsing \"zz\": invalid syntax",
        ),
        (
            &["type=image,compression-level=foo"],
            "non-integer value foo specified for compression-level: strconv.ParseInt: parsing \"foo\": invalid syntax",
        ),
        (&["type=image,compression-level=10"], "invalid compression level \"10\""),
        (&["type=image,source-date-epoch=zz"], "invalid SOURCE_DATE_EPOCH: zz"),
        (
            &["type=image,rewrite-timestamp=true,unpack=true"],
            "exporter option \"rewrite-timestamp\" conflicts with \"unpack\"",
        ),
        (
            &["type=image,oci-artifact=true,oci-mediatypes=false"],
            "exporter option \"oci-artifact=true\" conflicts with \"oci-mediatypes=false\"",
        ),
        (&["type=image,compression=estargz"], "`compression=estargz` is not supported by this version of slipway"),
        (&["type=image,annotation-foo.a=1"], "unrecognized annotation type foo"),
        (&["type=image,name=X"], "invalid reference format: repository name (library/X) must be lowercase"),
        (
            &["type=oci,dest=x,name=X"],
            "failed to parse X: invalid reference format: repository name (library/X) must be lowercase",
        ),
        (&["type=image,compression=foo"], "unsupported compression type foo"),
        (
            &["type=image,compression=zstd,oci-mediatypes=false"],
            "exporter option \"compression=zstd\" conflicts with \"oci-mediatypes=false\"",
        ),
    ] {
        assert_eq!(read(texts, &[], &NO_FLAGS), Err(expected.to_owned()), "{texts:?}");
    }
}

#[test]
fn an_archive_is_not_written_to_a_terminal() {
    let outputs = ["-".to_owned()];
    let flags = OutputFlags { outputs: &outputs, ..NO_FLAGS };
    let error = parse(&flags, &[], &made().with_terminal()).unwrap_err();
    assert_eq!(error.to_string(), "dest file is required for tar exporter. refusing to write to console");
}

#[test]
fn a_folder_has_no_image_id() {
    let flags = OutputFlags { has_iidfile: true, ..NO_FLAGS };
    assert_eq!(read(&["type=image"], &[], &flags).map(|outputs| outputs.len()), Ok(1));
    let expected = "local and tar exporters are incompatible with image ID file";
    assert_eq!(read(&["out"], &[], &flags), Err(expected.to_owned()));
}

#[test]
fn archives_for_docker_have_no_place_for_attestations() {
    let flags = OutputFlags { is_attested: true, ..NO_FLAGS };
    let expected = "docker exporter does not support exporting manifest lists, use the oci exporter instead";
    assert_eq!(read(&["type=docker,dest=x"], &[], &flags), Err(expected.to_owned()));
    let [Output::Oci { image, .. }] = &read(&["type=oci,dest=x"], &[], &flags).unwrap()[..] else { panic!() };
    assert!(!image.keeps_inline_only);
}

#[test]
fn the_environment_says_what_attestations_are_like() {
    let made = made().with_variable("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "1");
    let read = |text: &str| {
        let outputs = [text.to_owned()];
        match parse(&OutputFlags { outputs: &outputs, ..NO_FLAGS }, &[], &made).unwrap().remove(0) {
            Output::Image(image) => image.attests_by_artifact,
            other => panic!("{text} gave {other:?}"),
        }
    };
    assert!(!read("type=image"));
    assert!(read("type=image,oci-artifact=true"));
}

#[test]
fn tags_are_kept_once() {
    let texts = ["a".to_owned(), "a:latest".to_owned(), "b:1".to_owned()];
    let names: Vec<String> = tags(&texts).unwrap().iter().map(Reference::familiar).collect();
    assert_eq!(names, ["a:latest", "b:1"]);
    let error = tags(&["X".to_owned()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid tag \"X\": invalid reference format: repository name (library/X) must be lowercase"
    );
}
