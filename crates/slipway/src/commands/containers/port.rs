//! `slipway port`: where the ports of a container are.

use super::{find, print};
use crate::cli::containers::PortArgs;
use crate::report::CommandError;

/// Prints all published ports, or where one of them is.
pub(crate) fn run(args: &PortArgs) -> Result<(), CommandError> {
    let known = find(&args.container)?;
    let ports = &known.state.ports;
    let Some(wanted) = &args.port else {
        for port in ports {
            print(&format!("{}/{} -> {}", port.container_port, port.protocol, port.host));
        }
        return Ok(());
    };
    let wanted = if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
    let mut found =
        ports.iter().filter(|port| format!("{}/{}", port.container_port, port.protocol) == wanted).peekable();
    if found.peek().is_none() {
        let text = format!("Error: No public port '{wanted}' published for {}\n", args.container);
        return Err(CommandError::Told(text));
    }
    found.for_each(|port| print(&port.host.to_string()));
    Ok(())
}
