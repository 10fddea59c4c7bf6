//! Answers one question: what does a builder make of a case?
//!
//! The same code drives slipway and the reference: both take docker's `build` flags.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::base::Base;
use crate::case::{Case, Run};
use crate::image::{self, Image};
use crate::progress::{self, Steps};
use crate::workspace::Workspace;

/// A program that builds.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    /// The program and the words before `build`.
    pub program: Vec<OsString>,
    /// Flags that every build gets, right after `build`.
    pub flags: Vec<OsString>,
    /// Variables that every build gets.
    pub env: Vec<(OsString, OsString)>,
}

/// What one run left.
#[derive(Debug)]
pub struct Outcome {
    /// `None` if a signal ended it.
    pub exit_code: Option<i32>,
    /// The error output: progress, and the message if it failed.
    pub stderr: String,
    /// What a question was answered with; `None` if the run was a build.
    pub report: Option<String>,
    pub steps: Steps,
    /// What was made, if it succeeded.
    pub product: Option<Product>,
}

/// What a successful run made.
#[derive(Debug)]
pub enum Product {
    Image(Box<Image>),
    Folder(PathBuf),
    Archive(PathBuf),
    /// What the targets of a bake file wrote, by name.
    Several(Vec<(String, Product)>),
}

impl Product {
    /// The summary that records hold.
    pub fn summary(&self, base: &Base) -> Result<String> {
        match self {
            Self::Image(image) => image.summary(base),
            Self::Folder(path) => image::folder_summary(path),
            Self::Archive(path) => image::archive_summary(path),
            Self::Several(products) => {
                let named = |(name, product): &(String, Product)| {
                    product.summary(base).map(|summary| format!("output {name}\n{summary}"))
                };
                products.iter().map(named).collect()
            }
        }
    }

    /// Whether `text` occurs anywhere in it.
    pub fn contains(&self, text: &str) -> Result<bool> {
        match self {
            Self::Image(image) => Ok(image.contains(text)),
            Self::Archive(path) => Ok(image::contains(&fs::read(path)?, text.as_bytes())),
            Self::Folder(path) => Ok(image::folder_summary(path)?.contains(text)),
            Self::Several(products) => {
                products.iter().try_fold(false, |is_there, (_, product)| Ok(is_there || product.contains(text)?))
            }
        }
    }
}

impl Builder {
    /// Carries out every run of `case` in `workspace`, in order.
    pub fn build_all(&self, case: &Case, workspace: &Workspace) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for (index, run) in case.runs.iter().enumerate() {
            workspace.lay_out(case, index + 1)?;
            outcomes.push(self.build(run, workspace)?);
        }
        Ok(outcomes)
    }

    /// Carries out one run. Without `-o` it makes an OCI archive beside the context.
    pub fn build(&self, run: &Run, workspace: &Workspace) -> Result<Outcome> {
        let image = workspace.beside("image.tar");
        let mut output_flag = OsString::from("type=oci,dest=");
        output_flag.push(&image);
        let mut words: Vec<&OsStr> = self.program.iter().map(OsString::as_os_str).collect();
        words.push(run.arguments[0].as_ref());
        let bake_flags: Vec<OsString>;
        if run.is_bake() {
            fs::create_dir_all(workspace.beside(BAKED))?;
            bake_flags = self.flags.iter().filter_map(|flag| bake_flag(flag)).collect();
            words.extend(bake_flags.iter().map(OsString::as_os_str));
            words.extend(["--allow=fs=*", "--allow=network.host"].map(OsStr::new));
        } else {
            words.extend(self.flags.iter().map(OsString::as_os_str));
            if run.output().is_none() && !run.is_call() {
                words.extend([OsStr::new("-o"), &output_flag]);
            }
        }
        words.extend(run.arguments[1..].iter().map(OsStr::new));

        let stdin = match &run.stdin {
            Some(file) => File::open(workspace.context().join(file)).with_context(|| format!("open({file})"))?.into(),
            None => Stdio::null(),
        };
        let output = Command::new(words[0])
            .args(&words[1..])
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .envs(run.env.iter().map(|(k, v)| (k, v)))
            .current_dir(workspace.context())
            .stdin(stdin)
            .output()
            .with_context(|| format!("run({})", words[0].display()))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = run.is_call().then(|| String::from_utf8_lossy(&output.stdout).into_owned());
        let makes_product = output.status.success() && report.is_none();
        let product = if makes_product { Some(product(run, workspace, &image)?) } else { None };
        Ok(Outcome { exit_code: output.status.code(), steps: progress::steps(&stderr), stderr, report, product })
    }
}

/// Where the targets of bake files write, beside the context.
const BAKED: &str = "baked";

/// What `bake` has in the place of a flag of `build`; which network steps have, only the bake file can say.
fn bake_flag(flag: &OsStr) -> Option<OsString> {
    let text = flag.to_string_lossy();
    match text.strip_prefix("--build-context=") {
        Some(context) => Some(format!("--set=*.contexts.{context}").into()),
        None => (!text.starts_with("--network=")).then(|| flag.to_owned()),
    }
}

/// All that lies in `folder`, which several targets may have written to.
fn baked(folder: &Path) -> Result<Product> {
    let mut products = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read_dir({})", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let product = match name.ends_with(".image.tar") {
            _ if path.is_dir() => Product::Folder(path),
            true => Product::Image(Box::new(Image::read(&path)?)),
            false => Product::Archive(path),
        };
        products.push((name, product));
    }
    products.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Product::Several(products))
}

/// Reads what `run` made, from where its `-o` says.
fn product(run: &Run, workspace: &Workspace, image: &Path) -> Result<Product> {
    if run.is_bake() {
        return baked(&workspace.beside(BAKED));
    }
    let Some(output) = run.output() else {
        return Ok(Product::Image(Box::new(Image::read(image)?)));
    };
    let field = |key: &str| output.split(',').find_map(|f| f.strip_prefix(key)?.strip_prefix('='));
    let dest = workspace.context().join(field("dest").unwrap_or(output));
    match field("type").unwrap_or("local") {
        "local" => Ok(Product::Folder(dest)),
        "tar" => Ok(Product::Archive(dest)),
        "oci" | "docker" => Ok(Product::Image(Box::new(Image::read(&dest)?))),
        other => bail!("the runner cannot read an output of type `{other}`"),
    }
}
