//! One line that the user types at the terminal, shown or hidden.

use std::io::{self, Read as _, Write as _};

use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Nobody types so much.
const MAX_LINE_BYTES: usize = 4 << 10;
/// What Ctrl-C and Ctrl-D are to a terminal that makes nothing of them.
const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: [u8; 2] = [0x08, 0x7f];

/// Asks for a line that the user sees while typing.
pub(crate) fn shown(question: &str) -> io::Result<String> {
    ask(question)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks for a line that nobody sees. The terminal is as before afterwards, also after Ctrl-C, which is an error here: keys that
/// send signals are read like others meanwhile.
pub(crate) fn hidden(question: &str) -> io::Result<String> {
    // Before the question: who sees it may type at once.
    let _before = Hidden::begin()?;
    ask(question)?;
    let line = line_of(&mut io::stdin().lock().bytes())?;
    ask("\n").map(|()| line)
}

fn ask(question: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(question.as_bytes()).and_then(|()| out.flush())
}

/// A terminal that shows nothing of what is typed. Dropping gives it back.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Hidden> {
        let before = tcgetattr(stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(stdin(), OptionalActions::Drain, &modes)?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

fn line_of(typed: &mut dyn Iterator<Item = io::Result<u8>>) -> io::Result<String> {
    let mut line = Vec::new();
    for byte in typed {
        match byte? {
            b'\n' | b'\r' | END => break,
            INTERRUPT => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            byte if BACKSPACE.contains(&byte) => drop(line.pop()),
            byte => line.push(byte),
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the line is too long"));
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the line is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(typed: &[u8]) -> Option<String> {
        line_of(&mut typed.iter().map(|byte| Ok(*byte))).ok()
    }

    #[test]
    fn keys_do_what_they_do_in_a_terminal() {
        assert_eq!(line(b"pass\x7f\x7fsword\r more").as_deref(), Some("pasword"));
        assert_eq!(line(b"\x7fa\x04b").as_deref(), Some("a"));
        assert_eq!(line(b"ab\x03"), None);
        assert_eq!(line(&[b'a'; 5000]), None);
    }
}
