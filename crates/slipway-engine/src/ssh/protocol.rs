//! What may a step ask an agent? To list its keys and to sign (draft-miller-ssh-agent); everything else fails.
//!
//! The same holds for the agent of the user: its answers are passed on, but no step can add, remove or lock its keys.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Agent;
use super::key::PrivateKey;

/// As long as OpenSSH lets a message be.
const MAX_MESSAGE_BYTES: u32 = 256 * 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Answers one client until it closes its end.
pub(crate) fn serve(mut client: UnixStream, agent: &Agent) -> io::Result<()> {
    let mut upstream = match agent {
        Agent::Socket(path) => Some(UnixStream::connect(path)?),
        Agent::Keys(_) => None,
    };
    while let Some(request) = read_message(&mut client)? {
        let is_allowed = matches!(request.first(), Some(&REQUEST_IDENTITIES | &SIGN_REQUEST));
        let answer = match (&mut upstream, agent) {
            _ if !is_allowed => vec![FAILURE],
            (Some(upstream), _) => {
                write_message(upstream, &request)?;
                read_message(upstream)?.ok_or(io::ErrorKind::UnexpectedEof)?
            }
            (None, Agent::Keys(keys)) => answer(keys, &request).unwrap_or_else(|| vec![FAILURE]),
            (None, Agent::Socket(_)) => vec![FAILURE],
        };
        write_message(&mut client, &answer)?;
    }
    Ok(())
}

/// What keys answer to a request that is allowed; `None` if they cannot.
fn answer(keys: &[PrivateKey], request: &[u8]) -> Option<Vec<u8>> {
    let (kind, fields) = request.split_first()?;
    match *kind {
        REQUEST_IDENTITIES => {
            let mut answer = Writer(vec![IDENTITIES_ANSWER]);
            answer.u32(u32::try_from(keys.len()).ok()?);
            for key in keys {
                // Comments tell about the user's machine, and the reference leaves them away too.
                answer.string(key.blob()).string(b"");
            }
            Some(answer.0)
        }
        SIGN_REQUEST => {
            let mut fields = Reader(fields);
            let (blob, message, flags) = (fields.string().ok()?, fields.string().ok()?, fields.u32().ok()?);
            let key = keys.iter().find(|key| key.blob() == blob)?;
            let mut answer = Writer(vec![SIGN_RESPONSE]);
            answer.string(&key.sign(message, flags)?);
            Some(answer.0)
        }
        _ => None,
    }
}

/// The next message, without its length; `None` at the end.
fn read_message(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        answer => answer?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write_message(to: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let mut framed = Writer::default();
    framed.string(message);
    to.write_all(&framed.0)
}

/// A message or file ends in the middle of a value.
#[derive(Debug)]
pub(super) struct CutOff;

/// Takes apart what SSH has put together (RFC 4251 section 5).
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn u32(&mut self) -> Result<u32, CutOff> {
        let (number, rest) = self.0.split_first_chunk().ok_or(CutOff)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], CutOff> {
        let length = self.u32()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or(CutOff)?;
        self.0 = rest;
        Ok(string)
    }

    /// A number that is not negative, without zeros in front.
    pub(super) fn number(&mut self) -> Result<&'a [u8], CutOff> {
        self.string().map(without_zeros)
    }
}

/// Puts together what SSH takes apart.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).expect("because messages, keys and signatures are much shorter");
        self.u32(length).0.extend(bytes);
        self
    }

    /// A number that is not negative.
    pub(super) fn number(&mut self, bytes: &[u8]) -> &mut Self {
        let bytes = without_zeros(bytes);
        match bytes.first() {
            // The first bit is the sign.
            Some(128..) => self.string(&[&[0], bytes].concat()),
            _ => self.string(bytes),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let n_zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[n_zeros..]
}
