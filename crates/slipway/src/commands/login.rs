//! `slipway login` and `logout`: credentials of registries, in the file and the helpers that Docker keeps them in
//! (`spec/cli.md` section 10).

use std::io::{self, Read as _, Write as _};

use slipway_registry::{ClientConfig, KeptLogin, LoginFile, LoginServer, Registry};

use crate::cli::login::{LoginArgs, LogoutArgs};
use crate::commands::local_images::{print, told};
use crate::report::CommandError;
use crate::{client_config, typed_line};

/// More than any password, and less than a file that was taken for one.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

/// Why nobody is logged in. The texts are those that Docker's users know.
#[derive(Debug, thiserror::Error)]
enum LoginInputError {
    #[error("conflicting options: cannot specify both --password and --password-stdin")]
    TwoPasswords,
    #[error("the --password-stdin option requires --username to be set")]
    NoUsername,
    #[error("username is empty")]
    EmptyUsername,
    #[error("password is empty")]
    EmptyPassword,
    #[error("Error: Cannot perform an interactive login from a non TTY device")]
    NoTerminal,
    #[error("Error: Password Required")]
    NoPassword,
    #[error("Error: Non-null Username Required")]
    NoTypedUsername,
    #[error("cannot read the password: {0}")]
    Read(io::Error),
    #[error("cannot read from the terminal: {0}")]
    Terminal(io::Error),
    #[error("Error: there is no place for credentials: neither HOME nor DOCKER_CONFIG is set")]
    NoPlace,
}

impl From<LoginInputError> for CommandError {
    fn from(error: LoginInputError) -> CommandError {
        CommandError::Told(format!("{error}\n"))
    }
}

/// `slipway login`.
pub(crate) fn login(args: LoginArgs) -> Result<(), CommandError> {
    let server = LoginServer::of(&args.server);
    let typed = typed_login(args)?;
    let config = client_config::registry_config(false);
    let registry = Registry::new(config.clone());
    if typed == (None, None) && use_known_login(&registry, &server)? {
        return say("Login Succeeded\n");
    }
    let (username, password) = complete(&server, typed)?;
    registry.check_login(&server, &username, &password).map_err(|error| told(&error))?;
    let file = login_file(&config)?;
    if let KeptLogin::Readable(path) = file.keep(&server, &username, &password).map_err(|error| told(&error))? {
        remark(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n\n",
            path.display()
        ))?;
    }
    say("Login Succeeded\n")
}

/// `slipway logout`.
pub(crate) fn logout(args: &LogoutArgs) -> Result<(), CommandError> {
    let server = LoginServer::of(&args.server);
    let config = client_config::registry_config(false);
    say(&format!("Removing login credentials for {server}\n"))?;
    match login_file(&config)?.forget(&server) {
        Ok(()) => Ok(()),
        Err(error) => remark(&format!("WARNING: could not erase credentials:\n{server}: {error}\n")),
    }
}

/// User name and password, as far as flags and standard input have them.
fn typed_login(args: LoginArgs) -> Result<(Option<String>, Option<String>), CommandError> {
    let LoginArgs { password, password_stdin, username, server: _ } = args;
    if password.is_some() && password_stdin {
        return Err(LoginInputError::TwoPasswords.into());
    }
    if password.is_some() {
        remark("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")?;
    }
    if username.as_deref() == Some("") {
        return Err(LoginInputError::EmptyUsername.into());
    }
    if password.as_deref() == Some("") {
        return Err(LoginInputError::EmptyPassword.into());
    }
    if !password_stdin {
        return Ok((username, password));
    }
    if username.is_none() {
        return Err(LoginInputError::NoUsername.into());
    }
    let mut password = String::new();
    io::stdin().take(MAX_PASSWORD_BYTES).read_to_string(&mut password).map_err(LoginInputError::Read)?;
    let password = password.strip_suffix('\n').unwrap_or(&password);
    let password = password.strip_suffix('\r').unwrap_or(password);
    Ok((username, Some(password.to_owned()).filter(|password| !password.is_empty())))
}

/// Whether the login that is kept for `server` is good. If it is not, says so, and where it comes from.
fn use_known_login(registry: &Registry, server: &LoginServer) -> Result<bool, CommandError> {
    let Some(known) = registry.known_login(server) else { return Ok(false) };
    let named = known.username.map(|username| format!(" [Username: {username}]")).unwrap_or_default();
    remark(&format!(
        "Authenticating with existing credentials...{named}\n\n\
         \u{20}Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n\n"
    ))?;
    let Err(error) = registry.check_known_login(server) else { return Ok(true) };
    let source = &known.source;
    remark(&match error.is_refusal() {
        true => format!("Stored credentials invalid or expired: those for {server} come from {source}\n"),
        false => format!("Login did not succeed, error: {error}\n"),
    })?;
    Ok(false)
}

/// Asks for what was not given.
fn complete(
    server: &LoginServer,
    (username, password): (Option<String>, Option<String>),
) -> Result<(String, String), CommandError> {
    if let (Some(username), Some(password)) = (&username, &password) {
        return Ok((username.clone(), password.clone()));
    }
    if !rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(LoginInputError::NoTerminal.into());
    }
    if username.is_none() && server.is_hub() {
        say("Log in to Docker Hub with your Docker ID or e-mail address, and a password or personal access token.\n")?;
    }
    let username = match username {
        Some(username) => username,
        None => typed_line::shown("Username: ").map_err(LoginInputError::Terminal)?.trim().to_owned(),
    };
    if username.is_empty() {
        return Err(LoginInputError::NoTypedUsername.into());
    }
    let password = match password {
        Some(password) => password,
        None => typed_line::hidden("Password: ").map_err(LoginInputError::Terminal)?,
    };
    if password.is_empty() {
        return Err(LoginInputError::NoPassword.into());
    }
    Ok((username, password))
}

fn login_file(config: &ClientConfig) -> Result<LoginFile<'_>, LoginInputError> {
    LoginFile::of(config).ok_or(LoginInputError::NoPlace)
}

fn say(text: &str) -> Result<(), CommandError> {
    print(text)
}

fn remark(text: &str) -> Result<(), CommandError> {
    io::stderr().write_all(text.as_bytes()).map_err(|error| told(&error))
}
