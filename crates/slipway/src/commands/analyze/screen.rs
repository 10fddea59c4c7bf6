//! The terminal that somebody looks through an image in: it is taken over, drawn on, and given back however that ends.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use slipway_analyze::{Analysis, LayerError, LayerSource, Reading};
use slipway_explorer::ratatui::backend::{Backend as _, CrosstermBackend};
use slipway_explorer::ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use slipway_explorer::ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use slipway_explorer::ratatui::crossterm::{cursor, execute};
use slipway_explorer::ratatui::layout::Rect;
use slipway_explorer::ratatui::{Terminal, TerminalOptions, Viewport};
use slipway_explorer::{Explorer, Settings, Subject, Wish, loading};

use crate::env_vars;

/// So long nobody waits for a key before a signal is noticed.
const TICK: Duration = Duration::from_millis(100);
/// The size of a terminal that does not know its own.
const USUAL_SIZE: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScreenError {
    #[error("cannot use the terminal (`--report` prints what there is to see)")]
    Terminal(#[from] io::Error),
    #[error("cannot analyze image")]
    Analyze(#[from] LayerError),
}

/// Whether somebody sits at a terminal that can be drawn on.
pub(super) fn is_possible() -> bool {
    let is_dumb = env_vars::TERM.get().is_some_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

/// Reads the layers and lets somebody look through them, until they have seen enough. The first picture is there before
/// any layer is read, and has the layers in it; what they hold comes as it is known.
pub(super) fn explore(
    sources: Vec<LayerSource<'_>>,
    subject: Subject,
    settings: Settings,
    analyze: impl FnOnce(&[LayerSource<'_>], &Reading) -> Result<Analysis, LayerError> + Send,
) -> Result<(), ScreenError> {
    let ended = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&ended))?;
    let stop = Arc::new(AtomicBool::new(false));
    let sources: Vec<LayerSource<'_>> = sources.into_iter().map(|source| stoppable(source, &stop)).collect();
    let mut seat = Seat::take()?;
    let commands: Vec<&str> = sources.iter().map(|source| source.command.as_str()).collect();
    let reading = Reading::of(sources.len());
    let analysis = thread::scope(|scope| {
        let work = scope.spawn(|| analyze(&sources, &reading));
        let (mut shown, mut input) = (None, None);
        while !work.is_finished() {
            let sizes: Vec<Option<u64>> = reading.sizes().collect();
            if input.is_some() || shown.as_ref() != Some(&sizes) {
                seat.terminal.draw(|frame| loading(frame, &subject.name, &commands, &sizes))?;
            }
            shown = Some(sizes);
            input = next_input()?;
            let has_left = matches!(input, Some(Input::Key(key)) if is_quit(key));
            if has_left || ended.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
                return Ok(None);
            }
        }
        let analysis = work.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        analysis.map(Some).map_err(ScreenError::from)
    })?;
    let Some(analysis) = analysis else { return Ok(()) };
    let mut explorer = Explorer::new(&analysis, subject, settings);
    seat.terminal.draw(|frame| explorer.draw(frame))?;
    while !ended.load(Ordering::Relaxed) {
        // While nothing is typed nothing changes, and even a picture like the last one takes bytes to draw.
        let Some(input) = next_input()? else { continue };
        let wish = match input {
            Input::Key(key) => explorer.press(key),
            Input::Other => None,
        };
        match wish {
            None => {}
            Some(Wish::Quit) => break,
            Some(Wish::Extract { layer, path }) => explorer.tell(extract(&sources[layer], &path)),
        }
        seat.terminal.draw(|frame| explorer.draw(frame))?;
    }
    Ok(())
}

/// What came from the terminal.
enum Input {
    Key(KeyEvent),
    /// It has another size, say.
    Other,
}

/// The terminal while it is ours.
struct Seat {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Seat {
    fn take() -> io::Result<Seat> {
        let backend = CrosstermBackend::new(io::stdout());
        let has_size = backend.size().is_ok_and(|size| size.width > 0 && size.height > 0);
        let viewport = if has_size { Viewport::Fullscreen } else { Viewport::Fixed(USUAL_SIZE) };
        enable_raw_mode()?;
        let terminal = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::with_options(backend, TerminalOptions { viewport }));
        terminal.map(|terminal| Seat { terminal }).inspect_err(|_| give_back())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // A terminal that is gone needs nothing.
    let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

/// What comes next; `None` if nothing came for a moment.
///
/// # Errors
/// The terminal is gone. That is found out before anybody reads from it, who would find nothing for ever.
fn next_input() -> io::Result<Option<Input>> {
    for patience in [Duration::ZERO, TICK] {
        wait_for_input(patience)?;
        // One look may find several keys, which are told one after the other.
        if event::poll(Duration::ZERO)? {
            return Ok(Some(match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
                _ => Input::Other,
            }));
        }
    }
    Ok(None)
}

/// Waits until something was typed, or the time is over.
fn wait_for_input(patience: Duration) -> io::Result<()> {
    let stdin = io::stdin();
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    match poll(&mut descriptors, Some(&patience)) {
        // The terminal has another size.
        Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) if descriptors[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone"))
        }
        Ok(_) => Ok(()),
    }
}

fn is_quit(key: KeyEvent) -> bool {
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.code == KeyCode::Char('q') || (with_control && key.code == KeyCode::Char('c'))
}

/// Writes a file of a layer into the current folder, and says what came of it.
fn extract(source: &LayerSource<'_>, path: &[u8]) -> String {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let name = String::from_utf8_lossy(name).into_owned();
    let written = File::create_new(Path::new(&name)).map_err(|error| error.to_string()).and_then(|mut file| {
        let found = source.extract(path, &mut file).map_err(|error| slipway_engine::chain(&error))?;
        if found { Ok(()) } else { Err("it is no regular file".to_owned()) }
    });
    match written {
        Ok(()) => format!("wrote ./{name}"),
        Err(reason) => format!("cannot write ./{name}: {reason}"),
    }
}

/// The layer, whose bytes break off as soon as nobody wants them anymore.
fn stoppable<'a>(source: LayerSource<'a>, stop: &Arc<AtomicBool>) -> LayerSource<'a> {
    let (open, stop) = (source.open, Arc::clone(stop));
    let open = move || -> io::Result<Box<dyn Read + 'a>> {
        Ok(Box::new(Stoppable { bytes: open()?, stop: Arc::clone(&stop) }))
    };
    LayerSource { open: Box::new(open), ..source }
}

struct Stoppable<'a> {
    bytes: Box<dyn Read + 'a>,
    stop: Arc<AtomicBool>,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("nobody wants to see it anymore")),
            false => self.bytes.read(buffer),
        }
    }
}
