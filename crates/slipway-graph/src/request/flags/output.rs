//! `--output`, `--push`, `--load` and `--tag` (`spec/cli.md` section 4.3, `spec/dockerfile.md` section 8).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use slipway_oci::{Reference, ReferenceParseError};

use super::csv::{self, CsvError};
use super::{Moment, PathKind, Surroundings, parse_bool};
use crate::request::{Compression, Destination, ImageOutput, Output, Push};

/// Why an output is refused.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error("invalid value {field}")]
    NoPair { field: String },
    #[error("type is required for output")]
    NoType,
    #[error("local and tar exporters are incompatible with image ID file")]
    ImageIdOfFiles,
    #[error("dest is required for {kind} exporter")]
    NoDest { kind: &'static str },
    #[error("dest cannot be stdout for {kind} exporter")]
    FolderOnStdout { kind: &'static str },
    #[error("destination directory {dest} is a file")]
    FileInTheWay { dest: String },
    #[error("destination file {dest} is a directory")]
    FolderInTheWay { dest: String },
    #[error("dest file is required for {kind} exporter. refusing to write to console")]
    Console { kind: &'static str },
    #[error("multiple outputs configured to write to stdout")]
    StdoutTwice,
    #[error("local output mode=delete for destination {dest:?} requires --allow=buildx.local.delete")]
    DeleteNotAllowed { dest: String },
    #[error("invalid local exporter mode {mode:?}")]
    LocalMode { mode: String },
    #[error("tag is needed when pushing to registry")]
    PushWithoutName,
    #[error("docker exporter does not support exporting manifest lists, use the oci exporter instead")]
    DockerIndex,
    #[error("invalid tag {tag:?}: {source}")]
    Tag { tag: String, source: ReferenceParseError },
    #[error("invalid annotation {text:?}, expected key=value")]
    Annotation { text: String },
    #[error("exporter {kind:?} could not be found")]
    UnknownType { kind: String },
    #[error("{source}")]
    Name { source: ReferenceParseError },
    #[error("non-bool value specified for {key}: strconv.ParseBool: parsing {value:?}: invalid syntax")]
    NotBool { key: String, value: String },
    #[error("unsupported compression type {kind}")]
    Compression { kind: String },
    #[error("invalid compression level {level:?}")]
    CompressionLevel { level: String },
    #[error("exporter option \"compression={kind}\" conflicts with \"oci-mediatypes=false\"")]
    CompressionNeedsOci { kind: String },
    #[error("`{option}` is not supported by this version of slipway")]
    Unsupported { option: String },
}

impl OutputError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            OutputError::Csv(_) | OutputError::NoPair { .. } | OutputError::NoType | OutputError::ImageIdOfFiles => {
                Moment::Options
            }
            OutputError::NoDest { .. }
            | OutputError::FolderOnStdout { .. }
            | OutputError::FileInTheWay { .. }
            | OutputError::FolderInTheWay { .. }
            | OutputError::Console { .. }
            | OutputError::StdoutTwice
            | OutputError::DeleteNotAllowed { .. }
            | OutputError::PushWithoutName
            | OutputError::DockerIndex
            | OutputError::Tag { .. }
            | OutputError::Annotation { .. }
            | OutputError::Unsupported { .. } => Moment::Build,
            OutputError::LocalMode { .. }
            | OutputError::UnknownType { .. }
            | OutputError::Name { .. }
            | OutputError::NotBool { .. }
            | OutputError::Compression { .. }
            | OutputError::CompressionLevel { .. }
            | OutputError::CompressionNeedsOci { .. } => Moment::Solve,
        }
    }
}

/// Everything typed that says what becomes of the result.
pub(crate) struct OutputFlags<'a> {
    pub(crate) outputs: &'a [String],
    pub(crate) pushes: bool,
    pub(crate) loads: bool,
    pub(crate) annotations: &'a [String],
    pub(crate) has_several_platforms: bool,
    pub(crate) has_iidfile: bool,
    pub(crate) allows_delete: bool,
}

/// The tags, each once and with `:latest` written out.
pub(crate) fn tags(texts: &[String]) -> Result<Vec<Reference>, OutputError> {
    let mut tags: Vec<Reference> = Vec::new();
    for text in texts {
        let tag: Reference = text.parse().map_err(|source| OutputError::Tag { tag: text.to_owned(), source })?;
        let tag = tag.with_default_tag();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// All outputs; none means the image store.
pub(crate) fn parse(
    flags: &OutputFlags<'_>,
    tags: &[Reference],
    surroundings: &dyn Surroundings,
) -> Result<Vec<Output>, OutputError> {
    let mut typed = flags.outputs.iter().map(|text| Typed::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if flags.has_iidfile && typed.iter().any(|output| matches!(output.kind.as_str(), "local" | "tar")) {
        return Err(OutputError::ImageIdOfFiles);
    }
    add_push_and_load(&mut typed, flags.pushes, flags.loads);
    let annotations = annotations(flags.annotations)?;
    if typed.is_empty() && !annotations.is_empty() {
        typed.push(Typed::of_kind("image"));
    }
    let reader = Reader { tags, annotations: &annotations, allows_delete: flags.allows_delete, surroundings };
    let outputs = typed.iter().map(|output| reader.read(output)).collect::<Result<Vec<_>, _>>()?;
    if flags.has_several_platforms && outputs.iter().any(|output| matches!(output, Output::Docker { .. })) {
        return Err(OutputError::DockerIndex);
    }
    if outputs.iter().filter(|output| writes_to_stdout(output)).count() > 1 {
        return Err(OutputError::StdoutTwice);
    }
    Ok(outputs)
}

fn writes_to_stdout(output: &Output) -> bool {
    match output {
        Output::Oci { dest, .. } | Output::Docker { dest, .. } | Output::Tar { dest, .. } => {
            *dest == Destination::Stdout
        }
        Output::Image(_) | Output::Local { .. } | Output::CacheOnly => false,
    }
}

/// One `--output` as its keys and values.
struct Typed {
    kind: String,
    dest: Option<String>,
    attributes: BTreeMap<String, String>,
}

impl Typed {
    fn of_kind(kind: &str) -> Typed {
        Typed { kind: kind.to_owned(), dest: None, attributes: BTreeMap::new() }
    }

    fn parse(text: &str) -> Result<Typed, OutputError> {
        let fields = csv::fields(text)?;
        if fields.len() == 1 && fields[0] == text && !text.starts_with("type=") {
            let kind = if text == "-" { "tar" } else { "local" };
            return Ok(Typed { dest: Some(text.to_owned()), ..Typed::of_kind(kind) });
        }
        let pairs = csv::pairs(&fields).map_err(|field| OutputError::NoPair { field: field.to_owned() })?;
        let mut attributes: BTreeMap<String, String> =
            pairs.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        let kind = attributes.remove("type").filter(|kind| !kind.is_empty()).ok_or(OutputError::NoType)?;
        let dest = attributes.remove("dest").filter(|dest| !dest.is_empty());
        let mut typed = Typed { kind, dest, attributes };
        if typed.kind == "registry" {
            typed.kind = "image".to_owned();
            typed.push();
        }
        Ok(typed)
    }

    fn push(&mut self) {
        self.attributes.entry("push".to_owned()).or_insert_with(|| "true".to_owned());
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, OutputError> {
        match self.attributes.get(key).map(String::as_str) {
            None => Ok(default),
            Some("") => Ok(true),
            Some(value) => {
                parse_bool(value).ok_or_else(|| OutputError::NotBool { key: key.to_owned(), value: value.to_owned() })
            }
        }
    }
}

fn add_push_and_load(outputs: &mut Vec<Typed>, pushes: bool, loads: bool) {
    if pushes {
        outputs.iter_mut().filter(|output| output.kind == "image").for_each(Typed::push);
        if !outputs.iter().any(|output| output.kind == "image") {
            let mut image = Typed::of_kind("image");
            image.push();
            outputs.push(image);
        }
    }
    if loads && !outputs.iter().any(|output| output.kind == "docker" && output.dest.is_none()) {
        outputs.push(Typed::of_kind("docker"));
    }
}

/// `--annotation [manifest:]KEY=VALUE`.
fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>, OutputError> {
    texts
        .iter()
        .map(|text| {
            let (key, value) = text.split_once('=').ok_or_else(|| OutputError::Annotation { text: text.to_owned() })?;
            match key.split_once(':') {
                None => Ok((key.to_owned(), value.to_owned())),
                Some(("manifest", key)) => Ok((key.to_owned(), value.to_owned())),
                Some((kind, _)) => Err(OutputError::Unsupported { option: format!("--annotation {kind}:…") }),
            }
        })
        .collect()
}

/// What the outputs have in common while they are read.
struct Reader<'a> {
    tags: &'a [Reference],
    annotations: &'a BTreeMap<String, String>,
    allows_delete: bool,
    surroundings: &'a dyn Surroundings,
}

impl Reader<'_> {
    fn read(&self, typed: &Typed) -> Result<Output, OutputError> {
        match typed.kind.as_str() {
            "local" => self.local(typed),
            "tar" => Ok(Output::Tar { dest: self.file("tar", typed)?, splits: splits(typed)? }),
            "oci" => Ok(Output::Oci { dest: self.archive("oci", typed)?, image: self.image(typed)? }),
            "docker" if typed.attributes.contains_key("context") => {
                Err(OutputError::Unsupported { option: "type=docker,context=…".to_owned() })
            }
            // Loading means that the image is at hand afterwards; here that is slipway's own store.
            "docker" if typed.dest.is_none() => Ok(Output::Image(self.image(typed)?)),
            "docker" => Ok(Output::Docker { dest: self.archive("docker", typed)?, image: self.image(typed)? }),
            "image" => Ok(Output::Image(self.image(typed)?)),
            "cacheonly" => Ok(Output::CacheOnly),
            kind => Err(OutputError::UnknownType { kind: kind.to_owned() }),
        }
    }

    fn local(&self, typed: &Typed) -> Result<Output, OutputError> {
        let dest = self.folder("local", typed)?;
        let deletes_others = match typed.attributes.get("mode").map(String::as_str) {
            None | Some("copy") => false,
            Some("delete") => true,
            Some(mode) => return Err(OutputError::LocalMode { mode: mode.to_owned() }),
        };
        if deletes_others && !self.allows_delete && !self.is_below_working_dir(&dest) {
            return Err(OutputError::DeleteNotAllowed { dest: dest.display().to_string() });
        }
        Ok(Output::Local { dest, deletes_others, splits: splits(typed)? })
    }

    /// Whether `dest` is a real sub-folder of the working directory, as far as its spelling tells.
    fn is_below_working_dir(&self, dest: &Path) -> bool {
        let relative = match dest.is_absolute() {
            true => dest.strip_prefix(self.surroundings.working_dir()).unwrap_or(Path::new("..")).to_owned(),
            false => dest.to_owned(),
        };
        let mut depth = 0;
        for component in relative.components() {
            match component {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
            }
        }
        depth > 0
    }

    fn archive(&self, kind: &'static str, typed: &Typed) -> Result<Destination, OutputError> {
        match typed.flag("tar", true)? {
            true => self.file(kind, typed),
            false => self.folder(kind, typed).map(Destination::Folder),
        }
    }

    fn folder(&self, kind: &'static str, typed: &Typed) -> Result<PathBuf, OutputError> {
        let dest = typed.dest.as_deref().ok_or(OutputError::NoDest { kind })?;
        if dest == "-" {
            return Err(OutputError::FolderOnStdout { kind });
        }
        match self.surroundings.kind_of(dest.as_ref()) {
            PathKind::File | PathKind::Socket => Err(OutputError::FileInTheWay { dest: dest.to_owned() }),
            PathKind::Missing | PathKind::Folder => Ok(dest.into()),
        }
    }

    fn file(&self, kind: &'static str, typed: &Typed) -> Result<Destination, OutputError> {
        match typed.dest.as_deref() {
            None | Some("-") if self.surroundings.is_stdout_terminal() => Err(OutputError::Console { kind }),
            None | Some("-") => Ok(Destination::Stdout),
            Some(dest) if self.surroundings.kind_of(dest.as_ref()) == PathKind::Folder => {
                Err(OutputError::FolderInTheWay { dest: dest.to_owned() })
            }
            Some(dest) => Ok(Destination::File(dest.into())),
        }
    }

    fn image(&self, typed: &Typed) -> Result<ImageOutput, OutputError> {
        let names = self.names(typed)?;
        let push = push(typed)?;
        if push.is_some() && names.is_empty() {
            return Err(OutputError::PushWithoutName);
        }
        if typed.flag("rewrite-timestamp", false)? {
            return Err(OutputError::Unsupported { option: "rewrite-timestamp=true".to_owned() });
        }
        let uses_oci_types = typed.flag("oci-mediatypes", true)?;
        let compression = compression(typed)?;
        if compression == Compression::Zstd && !uses_oci_types {
            return Err(OutputError::CompressionNeedsOci { kind: "zstd".to_owned() });
        }
        let mut annotations = self.annotations.clone();
        let own = typed.attributes.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix("annotation.").or_else(|| key.strip_prefix("annotation-manifest."))?;
            Some((key.to_owned(), value.clone()))
        });
        annotations.extend(own);
        Ok(ImageOutput {
            names,
            push,
            uses_oci_types,
            compression,
            compression_level: compression_level(typed, compression)?,
            forces_compression: typed.flag("force-compression", false)?,
            annotations,
        })
    }

    /// The output's own names, else the tags.
    fn names(&self, typed: &Typed) -> Result<Vec<Reference>, OutputError> {
        match typed.attributes.get("name") {
            Some(names) if !names.is_empty() => names
                .split(',')
                .map(|name| {
                    let name: Reference = name.trim().parse().map_err(|source| OutputError::Name { source })?;
                    Ok(name.with_default_tag())
                })
                .collect(),
            _ => Ok(self.tags.to_vec()),
        }
    }
}

/// Whether platforms get folders of their own, if somebody says so.
fn splits(typed: &Typed) -> Result<Option<bool>, OutputError> {
    match typed.attributes.contains_key("platform-split") {
        true => typed.flag("platform-split", false).map(Some),
        false => Ok(None),
    }
}

fn push(typed: &Typed) -> Result<Option<Push>, OutputError> {
    let by_digest = typed.flag("push-by-digest", false)?;
    let is_insecure = typed.flag("registry.insecure", false)?;
    Ok(typed.flag("push", false)?.then_some(Push { is_insecure, by_digest }))
}

fn compression(typed: &Typed) -> Result<Compression, OutputError> {
    match typed.attributes.get("compression").map(String::as_str) {
        None | Some("gzip") => Ok(Compression::Gzip),
        Some("zstd") => Ok(Compression::Zstd),
        Some("uncompressed") => Ok(Compression::Uncompressed),
        Some("estargz") => Err(OutputError::Unsupported { option: "compression=estargz".to_owned() }),
        Some(kind) => Err(OutputError::Compression { kind: kind.to_owned() }),
    }
}

fn compression_level(typed: &Typed, compression: Compression) -> Result<Option<u32>, OutputError> {
    let highest = if compression == Compression::Zstd { 22 } else { 9 };
    match typed.attributes.get("compression-level") {
        None => Ok(None),
        Some(level) => match level.parse() {
            Ok(number) if number <= highest => Ok(Some(number)),
            _ => Err(OutputError::CompressionLevel { level: level.to_owned() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Made;
    use super::*;

    const NO_FLAGS: OutputFlags<'_> = OutputFlags {
        outputs: &[],
        pushes: false,
        loads: false,
        annotations: &[],
        has_several_platforms: false,
        has_iidfile: false,
        allows_delete: false,
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
        ImageOutput {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            push,
            uses_oci_types: true,
            compression: Compression::Gzip,
            compression_level: None,
            forces_compression: false,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn places_are_read() {
        let local = |dest: &str| Output::Local { dest: dest.into(), deletes_others: false, splits: None };
        for (text, expected) in [
            ("out", local("out")),
            ("dest=x", local("dest=x")),
            ("type=local,dest=.", local(".")),
            (
                "type=local,dest=a/b,mode=delete,platform-split=true",
                Output::Local { dest: "a/b".into(), deletes_others: true, splits: Some(true) },
            ),
            ("-", Output::Tar { dest: Destination::Stdout, splits: None }),
            ("type=tar", Output::Tar { dest: Destination::Stdout, splits: None }),
            (
                "type=tar,dest=x.tar,platform-split=0",
                Output::Tar { dest: Destination::File("x.tar".into()), splits: Some(false) },
            ),
            ("type=cacheonly", Output::CacheOnly),
            (
                "TYPE=oci,dest=l,tar=false",
                Output::Oci { dest: Destination::Folder("l".into()), image: image(&[], None) },
            ),
            (
                "type=docker,dest=d.tar,name=x",
                Output::Docker { dest: Destination::File("d.tar".into()), image: image(&["x:latest"], None) },
            ),
            ("type=docker", Output::Image(image(&[], None))),
        ] {
            assert_eq!(read(&[text], &[], &NO_FLAGS), Ok(vec![expected]), "{text}");
        }
    }

    #[test]
    fn names_come_from_the_output_or_the_tags() {
        let pushed = Some(Push::default());
        let read = |text| read(&[text], &["app:1"], &NO_FLAGS);
        assert_eq!(read("type=registry"), Ok(vec![Output::Image(image(&["app:1"], pushed))]));
        let two = Output::Image(image(&["a:latest", "b:2"], None));
        assert_eq!(read(r#"type=image,"name=a,b:2""#), Ok(vec![two]));
    }

    #[test]
    fn push_and_load_add_what_is_missing() {
        let pushed = Output::Image(image(&["a:1"], Some(Push::default())));
        let stored = Output::Image(image(&["a:1"], None));
        let push = OutputFlags { pushes: true, ..NO_FLAGS };
        let both = OutputFlags { loads: true, ..push };
        assert_eq!(read(&[], &["a:1"], &push), Ok(vec![pushed.clone()]));
        assert_eq!(read(&["type=image"], &["a:1"], &push), Ok(vec![pushed.clone()]));
        assert_eq!(read(&["type=docker"], &["a:1"], &both), Ok(vec![stored.clone(), pushed.clone()]));
        assert_eq!(read(&[], &["a:1"], &both), Ok(vec![pushed, stored]));
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
}
