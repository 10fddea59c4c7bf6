//! `system df`, `system prune` and `image prune`: Docker's view of what takes space, and what may go.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, Write as _};

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_store::{Bounds, Store, Usage};

use crate::cli::docker::{ImagePruneArgs, SystemPruneArgs};
use crate::commands::du::size;
use crate::commands::image_filter::{ImageFilter, Row};
use crate::commands::local_images::told;
use crate::listing::Listing;
use crate::place;
use crate::report::CommandError;

/// The filters of `image prune`.
const FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// Prints sums: what images take, and what builds remember.
pub(crate) fn disk_usage(format: &str) -> Result<(), CommandError> {
    let store = open()?;
    let usages = store.usage().map_err(|error| told(&error))?;
    let rows = Row::all(&store).map_err(|error| told(&error))?;
    let ids: BTreeSet<_> = rows.into_iter().map(|row| row.image.config).collect();
    let (of_images, of_builds): (Vec<&Usage>, Vec<&Usage>) = usages.iter().partition(|usage| usage.is_of_image);
    let rows = [row("Images", ids.len(), &of_images), row("Build Cache", of_builds.len(), &of_builds)];
    let listing = Listing {
        kind: "*formatter.diskUsageContext",
        headers: &[
            ("Type", "TYPE"),
            ("TotalCount", "TOTAL"),
            ("Active", "ACTIVE"),
            ("Size", "SIZE"),
            ("Reclaimable", "RECLAIMABLE"),
        ],
        table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    };
    let text = listing.write(format, &rows).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    write_out(&text)
}

fn row(kind: &str, n_things: usize, usages: &[&Usage]) -> Value {
    let sum = |usages: &mut dyn Iterator<Item = &&Usage>| usages.map(|usage| usage.size_bytes).sum::<u64>();
    let n_active = usages.iter().filter(|usage| usage.is_in_use).count();
    json!({
        "Type": kind,
        "TotalCount": n_things.to_string(),
        "Active": n_active.to_string(),
        "Size": size(sum(&mut usages.iter())),
        "Reclaimable": size(sum(&mut usages.iter().filter(|usage| !usage.is_in_use))),
    })
}

/// `system prune`: what builds remember and no image needs; with `--all` the names of images, too.
pub(crate) fn prune(args: &SystemPruneArgs) -> Result<(), CommandError> {
    let mut goes = vec!["all dangling images", "build results that no image needs"];
    if args.all {
        goes.push("all images");
        goes.push("all that is remembered between builds");
    }
    // The namespace first: what is typed afterwards is read once only.
    let store = open()?;
    if !args.force && !is_confirmed(&goes)? {
        return Ok(());
    }
    let mut text = take_off_the_list(&store, args.all, &ImageFilter::default())?;
    let is_wanted = |usage: &Usage| args.all || usage.record_type != "internal";
    let gone = store.prune(!args.all, Bounds::default(), is_wanted).map_err(|error| told(&error))?;
    text += &reclaimed(&gone);
    write_out(&text)
}

/// `image prune`: takes images off the list, those without a name or with `--all` all. What they consist of goes on
/// serving builds; it goes with the next prune, or at once with `--all`.
pub(crate) fn prune_images(args: &ImagePruneArgs) -> Result<(), CommandError> {
    let what =
        if args.all { "all images without at least one container associated to them" } else { "all dangling images" };
    // The namespace first: what is typed afterwards is read once only.
    let store = open()?;
    let filter = ImageFilter::parse(&args.filters, &FILTERS, &store, Timestamp::now()).map_err(|error| told(&error))?;
    if !args.force && !is_confirmed(&[what])? {
        return Ok(());
    }
    let mut text = take_off_the_list(&store, args.all, &filter)?;
    let gone = match args.all {
        true => store.prune(true, Bounds::default(), |usage| usage.record_type != "internal"),
        false => Ok(Vec::new()),
    };
    text += &reclaimed(&gone.map_err(|error| told(&error))?);
    write_out(&text)
}

/// Takes all images that are meant off the list, those with names only if `has_names`; and says so.
fn take_off_the_list(store: &Store, has_names: bool, filter: &ImageFilter) -> Result<String, CommandError> {
    let mut rows = Row::all(store).map_err(|error| told(&error))?;
    rows.retain(|row| has_names || row.name.is_none());
    filter.keep(&mut rows, store).map_err(|error| told(&error))?;
    let mut names_of = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        names_of.entry(row.image.config).or_default().extend(row.name);
    }
    let mut text = String::new();
    for (id, names) in &names_of {
        for name in names {
            store.untag(name).map_err(|error| told(&error))?;
            text += &format!("untagged: {}\n", name.familiar());
        }
        store.forget_unnamed(id).map_err(|error| told(&error))?;
        text += &format!("deleted: {id}\n");
    }
    Ok(if text.is_empty() { text } else { format!("Deleted Images:\n{text}\n") })
}

fn reclaimed(gone: &[Usage]) -> String {
    format!("Total reclaimed space: {}\n", size(gone.iter().map(|usage| usage.size_bytes).sum()))
}

/// The store, for those who remove folders of it. Enters the namespace that takes.
fn open() -> Result<Store, CommandError> {
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    Store::open(&place::store_root(place), flavor).map_err(|error| told(&error))
}

/// Asks whether all of this may go; no answer is no.
pub(crate) fn is_confirmed(goes: &[&str]) -> Result<bool, CommandError> {
    let list: String = goes.iter().map(|what| format!("  - {what}\n")).collect();
    write_out(&match goes {
        [one] => format!("WARNING! This will remove {one}.\n"),
        _ => format!("WARNING! This will remove:\n{list}\n"),
    })?;
    write_out("Are you sure you want to continue? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| told(&error))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

fn write_out(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| told(&error))
}
