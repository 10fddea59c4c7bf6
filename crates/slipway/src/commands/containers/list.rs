//! `slipway ps`: which containers there are.

use std::io::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_engine::{OpenPort, chain};

use crate::cli::containers::PsArgs;
use crate::commands::images::age;
use crate::commands::local_images::told;
use crate::containers::health::Health;
use crate::containers::{self, Known, Status};
use crate::listing::Listing;
use crate::report::CommandError;

/// As many letters of a command as Docker shows.
const COMMAND_LETTERS: usize = 20;

const LISTING: Listing<'_> = Listing {
    kind: "*formatter.ContainerContext",
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Status", "STATUS"),
        ("State", "STATE"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
};

/// Prints the list, the newest container first.
pub(crate) fn run(args: &PsArgs) -> Result<(), CommandError> {
    let mut all = containers::all().map_err(|error| told(&error))?;
    let filters = args.filters.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>();
    let filters = filters.map_err(|message| CommandError::Told(format!("Error: {message}\n")))?;
    let is_status_asked = filters.iter().any(|filter| matches!(filter, Filter::Status(_)));
    let last = if args.latest { Some(1) } else { args.last };
    // As with Docker, what is no number of containers asks for nothing.
    let last = last.and_then(|last| usize::try_from(last).ok()).filter(|last| *last > 0);
    let shows_all = args.all || last.is_some() || is_status_asked;
    all.retain(|known| (shows_all || known.state.is_live()) && Filter::hold(&filters, known));
    if let Some(last) = last {
        all.truncate(last);
    }
    let format = if args.quiet && args.format.is_empty() { "{{.ID}}" } else { args.format.as_str() };
    let now = Timestamp::now();
    let rows: Vec<Value> = all.iter().map(|known| row(known, args.no_trunc, now)).collect();
    let text = LISTING.write(format, &rows).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Told(format!("{}\n", chain(&error))))
}

fn row(known: &Known, is_long: bool, now: Timestamp) -> Value {
    let Known { config, state, .. } = known;
    let command = match state.command.as_slice() {
        [] => config.request.command.join(" "),
        command => command.join(" "),
    };
    let cut: String = match is_long || command.chars().count() <= COMMAND_LETTERS {
        true => command,
        false => command.chars().take(COMMAND_LETTERS - 1).chain(['…']).collect(),
    };
    let labels: Vec<String> = config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "ID": if is_long { config.id.as_str() } else { known.short_id() },
        "Image": config.request.image,
        "Command": format!("\"{cut}\""),
        "RunningFor": age(config.created, now),
        "CreatedAt": config.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        "Status": status(known, now),
        "State": state.status.to_string(),
        "Ports": state.ports.iter().map(port).collect::<Vec<_>>().join(", "),
        "Names": config.name,
        "Labels": labels.join(","),
    })
}

/// `0.0.0.0:8080->80/tcp`
pub(crate) fn port(port: &OpenPort) -> String {
    format!("{}->{}/{}", port.host, port.container_port, port.protocol)
}

/// `Up 5 minutes (healthy)`, `Exited (1) 3 seconds ago`.
pub(crate) fn status(known: &Known, now: Timestamp) -> String {
    let state = &known.state;
    let since = |time: Option<Timestamp>| time.map_or_else(String::new, |time| age(time, now));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let up = since(state.started);
            let health = match state.health {
                None => "",
                Some(Health::Starting) => " (health: starting)",
                Some(Health::Healthy) => " (healthy)",
                Some(Health::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", up.trim_end_matches(" ago"))
        }
        Status::Restarting => format!("Restarting ({}) {}", state.exit_code, since(state.finished)),
        Status::Exited => format!("Exited ({}) {}", state.exit_code, since(state.finished)).trim_end().to_owned(),
    }
}

enum Filter {
    Id(String),
    Name(String),
    Label(String, Option<String>),
    Status(String),
}

impl Filter {
    fn parse(text: &str) -> Result<Filter, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("invalid filter '{text}'"))?;
        match key {
            "id" => Ok(Filter::Id(value.to_owned())),
            "name" => Ok(Filter::Name(value.trim_start_matches(['^', '/']).to_owned())),
            "label" => Ok(match value.split_once('=') {
                Some((name, value)) => Filter::Label(name.to_owned(), Some(value.to_owned())),
                None => Filter::Label(value.to_owned(), None),
            }),
            "status" if ["created", "running", "restarting", "exited"].contains(&value) => {
                Ok(Filter::Status(value.to_owned()))
            }
            _ => Err(format!("invalid filter '{text}'")),
        }
    }

    fn holds(&self, known: &Known) -> bool {
        match self {
            Filter::Id(id) => known.config.id.starts_with(id),
            Filter::Name(name) => match name.strip_suffix('$') {
                Some(end) => known.config.name.ends_with(end),
                None => known.config.name.contains(name),
            },
            Filter::Label(name, value) => {
                let found = known.config.labels.get(name);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Filter::Status(status) => known.state.status.to_string() == *status,
        }
    }

    /// All labels have to be there; of names, ids and states one of each is enough.
    fn hold(filters: &[Filter], known: &Known) -> bool {
        let labels = filters.iter().filter(|filter| matches!(filter, Filter::Label(..)));
        let kinds = [
            |filter: &&Filter| matches!(filter, Filter::Id(_)),
            |filter: &&Filter| matches!(filter, Filter::Name(_)),
            |filter: &&Filter| matches!(filter, Filter::Status(_)),
        ];
        labels.into_iter().all(|filter| filter.holds(known))
            && kinds.iter().all(|is_kind| {
                let mut of_kind = filters.iter().filter(is_kind).peekable();
                of_kind.peek().is_none() || of_kind.any(|filter| filter.holds(known))
            })
    }
}
