//! The prompt of `anyudf sql`, typed at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::odd::Witness;
use crate::support::{Place, Ran};

/// Longer than anything takes, also on a busy machine; it ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

const PROMPT: &str = "anyudf> ";

/// Somebody at a terminal.
struct Typist {
    child: Child,
    keyboard: File,
    /// The other side, as the program has it.
    terminal: OwnedFd,
    screen: Receiver<Vec<u8>>,
    /// What was shown and not looked at.
    shown: String,
}

impl Typist {
    fn sits_at(place: &Place, arguments: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("a terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("a terminal has a name");
        let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).expect("a terminal has a size");
        let side = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        let mut command = place.command(["sql"].iter().chain(arguments));
        command.env("TERM", "xterm").env("XDG_STATE_HOME", place.directory.path());
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the binary starts");
        let keyboard = File::from(keyboard);
        let (tell, screen) = channel();
        let mut reader = keyboard.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                if tell.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut typist = Typist { child, keyboard, terminal, screen, shown: String::new() };
        typist.sees(PROMPT);
        typist
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("a terminal takes what is typed");
    }

    /// Waits for a text, and forgets it with all before it.
    fn sees(&mut self, text: &str) -> String {
        loop {
            if let Some(place) = self.shown.find(text) {
                let rest = self.shown.split_off(place + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("`{text}` does not come; there is:\n{}", self.shown),
            }
        }
    }

    /// A statement, and what it shows until the next prompt.
    fn runs(&mut self, statement: &str) -> String {
        self.types(statement);
        self.types("\n");
        // The editor draws the prompt again with the line; the next one stands behind the answer.
        self.sees(statement.rsplit('\n').next().unwrap_or_default());
        let answer = self.sees(PROMPT);
        answer.replace('\r', "")
    }

    fn leaves(mut self, place: &Place) -> Ran {
        drop(self.terminal);
        let status = self.child.wait().expect("it ends");
        place.finish(std::process::Output { status, stdout: Vec::new(), stderr: Vec::new() })
    }
}

#[test]
fn statements_are_typed_over_lines_and_failures_are_survived() {
    let place = Place::new();
    place.file("in.csv", "amount,city\n3,Ulm\n4,Bonn\n");
    let mut typist = Typist::sits_at(&place, &["--table", "orders=in.csv"]);
    let answer = typist.runs("SELECT sum(amount)\nAS total FROM orders;");
    assert!(answer.contains("| 7     |"), "{answer}");
    assert!(answer.contains("1 row in "), "{answer}");
    let answer = typist.runs("SELECT summ(amount) FROM orders;");
    assert!(answer.contains("error: Invalid function 'summ'"), "{answer}");
    let answer = typist.runs("\\d");
    assert!(answer.contains("| orders"), "{answer}");
    let answer = typist.runs("\\d orders");
    assert!(answer.contains("| amount") && answer.contains("Int64"), "{answer}");
    let answer = typist.runs("\\f distance_mils");
    assert!(answer.contains("did you mean `distance_miles`"), "{answer}");
    let answer = typist.runs("\\x");
    assert!(answer.contains("error: there is no `\\x`; \\? says what there is"), "{answer}");
    let answer = typist.runs("SELECT '; ' AS semicolon; SELECT 2 AS b;");
    assert!(answer.contains("| semicolon |") && answer.contains("| b |"), "{answer}");
    typist.types("\\q\n");
    assert_eq!(typist.leaves(&place).code, Some(0));
}

/// R9, E13: Ctrl-C cancels the query and not the prompt.
#[test]
fn r9_ctrl_c_cancels_the_query_and_not_the_prompt() {
    let place = Place::new();
    let witness = Witness::new(&place);
    place.file("in.csv", "n\n1\n");
    let mut typist = Typist::sits_at(&place, &["--worker", &witness.worker()]);
    for _ in 0..2 {
        typist.types("SELECT * FROM holds((SELECT n FROM 'in.csv'));\n");
        let mut function = witness.held();
        kill_process(Pid::from_child(&typist.child), Signal::INT).expect("it runs");
        assert_eq!(function.next(), Some(b'C'), "the function was told");
        typist.sees("interrupted");
        typist.sees(PROMPT);
        let answer = typist.runs("SELECT 6 * 7 AS answer;");
        assert!(answer.contains("| 42     |"), "{answer}");
    }
    // Ctrl-C while somebody types forgets the line; Ctrl-D leaves.
    typist.types("SELECT nonsense");
    typist.sees("nonsense");
    typist.types("\x03");
    typist.sees(PROMPT);
    typist.types("\x04");
    assert_eq!(typist.leaves(&place).code, Some(0));
}

#[test]
fn sigterm_at_the_prompt_ends_it_and_gives_the_terminal_back() {
    let place = Place::new();
    let typist = Typist::sits_at(&place, &[]);
    kill_process(Pid::from_child(&typist.child), Signal::TERM).expect("it runs");
    let Typist { mut child, terminal, .. } = typist;
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let modes = tcgetattr(&terminal).expect("a terminal").local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "{modes:?}");
}

#[test]
fn history_and_completion_help() {
    let place = Place::new();
    let mut typist = Typist::sits_at(&place, &[]);
    typist.types("SELECT distance_\t");
    typist.sees("distance_miles(");
    typist.types("1, 2, 1, 2) AS same;\n");
    typist.sees("| 0.0  |");
    typist.sees(PROMPT);
    typist.types("\x04");
    assert_eq!(typist.leaves(&place).code, Some(0));
    let history = std::fs::read_to_string(place.path("anyudf/sql_history")).expect("it is kept");
    assert!(history.contains("SELECT distance_miles(1, 2, 1, 2) AS same;"), "{history}");
    let mut typist = Typist::sits_at(&place, &[]);
    typist.types("\x1b[A\n");
    typist.sees("| 0.0  |");
    typist.sees(PROMPT);
    typist.types("\x04");
    assert_eq!(typist.leaves(&place).code, Some(0));
}
