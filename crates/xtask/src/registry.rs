//! `cargo xtask registry --listen ADDRESS --dir DIR`: a registry to push to and pull from by hand and in benchmarks.

use std::path::PathBuf;

use anyhow::{Context, bail};
use slipway_test::registry::TestRegistry;

/// Serves until the process is stopped. `args` are the arguments after `registry`.
pub(crate) fn run(args: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mut address = "127.0.0.1:5001".to_owned();
    let mut dir = None;
    let mut args = args.into_iter();
    while let Some(flag) = args.next() {
        let mut value = || args.next().with_context(|| format!("`{flag}` needs a value"));
        match flag.as_str() {
            "--listen" => address = value()?,
            "--dir" => dir = Some(PathBuf::from(value()?)),
            _ => bail!("unknown argument `{flag}`; usage: cargo xtask registry [--listen ADDRESS] --dir DIR"),
        }
    }
    let dir = dir.context("`--dir` is missing: the folder that keeps blobs and manifests")?;
    let registry = TestRegistry::start_on(&address, &dir).with_context(|| format!("cannot listen on {address}"))?;
    write_line(&format!("registry at {} in {}", registry.host(), dir.display()))?;
    registry.serve_forever()
}

fn write_line(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}
