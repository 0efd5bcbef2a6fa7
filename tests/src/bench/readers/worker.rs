//! One contestant in a process of its own, which does operations when it is told to and says what they took.
//!
//! So CPU time is that of the whole process with all its threads, peak memory is its own, and several contestants take
//! turns. Lines in: `run N`, `peak`. Lines out: `ready` once, then `WALL CPU` in nanoseconds for N operations together, or
//! the peak in bytes; or, in place of each, `error: …`. What an operation begins with (an empty or an older state) is made
//! outside of what is measured. `tests/python/bench_reader.py` is the same for python-tuf.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::contestants::{Contestant, Moment, contestant};
use crate::bench::process::peak_of;

/// The first argument of a benchmark that is a contestant: `trust-bench --reader CONTESTANT MOMENT FOLDER STATE BASE`.
pub const READER: &str = "--reader";

/// What a contestant does.
pub trait Work {
    /// Whether [`Work::prepare`] is to be called before each operation.
    fn is_prepared(&self) -> bool {
        false
    }

    /// Makes what the next operation begins with. Not measured.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// One operation: from its beginning to the wanted target. Not to find it is an error.
    fn operate(&mut self) -> Result<(), String>;
}

fn cpu_now() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

fn run(work: &mut dyn Work, times: u32) -> Result<String, String> {
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    let mut measured = |operations: &mut dyn FnMut() -> Result<(), String>| {
        let (begun, used) = (Instant::now(), cpu_now());
        let result = operations();
        cpu += cpu_now().saturating_sub(used);
        wall += begun.elapsed();
        result
    };
    if work.is_prepared() {
        for _ in 0..times {
            work.prepare().map_err(|e| e.to_string())?;
            measured(&mut || work.operate())?;
        }
    } else {
        measured(&mut || (0..times).try_for_each(|_| work.operate()))?;
    }
    Ok(format!("{} {}", wall.as_nanos(), cpu.as_nanos()))
}

/// The contestant's side: serves until its input ends.
#[allow(clippy::print_stdout)]
pub fn serve(arguments: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let arguments: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
    let [name, moment, folder, state, base] = arguments.as_slice() else {
        return Err(io::Error::other("usage: --reader CONTESTANT MOMENT FOLDER STATE BASE"));
    };
    let moment = Moment::parse(moment).ok_or_else(|| io::Error::other("no such moment"))?;
    let mut work = match contestant(name, moment, Path::new(folder), Path::new(state), base) {
        Ok(work) => work,
        Err(error) => {
            println!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.strip_prefix("run ").map(str::parse) {
            Some(Ok(times)) => run(&mut *work, times).unwrap_or_else(|e| format!("error: {e}")),
            _ => peak_of(std::process::id()).to_string(),
        };
        println!("{answer}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A contestant that waits for its turn.
pub struct Worker {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// How contestants are started.
pub struct Programs {
    /// This benchmark.
    pub bench: PathBuf,
    /// The Python that has python-tuf.
    pub python: Option<PathBuf>,
}

impl Worker {
    /// Starts a contestant for one repository. `state` is a folder of its own that it makes, `base` the address under which
    /// the repository's folder is served.
    pub fn start(
        programs: &Programs,
        who: Contestant,
        moment: Moment,
        folder: &Path,
        state: &Path,
        base: &str,
    ) -> io::Result<Self> {
        let mut command = match (who.python(), &programs.python) {
            (Some(fetcher), Some(python)) => {
                let mut command = Command::new(python);
                command.arg(crate::interop::script("bench_reader.py")).arg(fetcher);
                command
            }
            (Some(_), None) => return Err(io::Error::other("target/tools/venv is missing (make tools)")),
            (None, _) => {
                let mut command = Command::new(&programs.bench);
                command.args([READER, who.name()]);
                command
            }
        };
        command.arg(moment.name()).arg(folder).arg(state).arg(base);
        for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let name = format!("{}, {}", who.name(), moment.name());
        let mut worker = Self { name, child, input: Some(input), output: BufReader::new(output) };
        match worker.line()?.as_str() {
            "ready" => Ok(worker),
            other => Err(worker.fault(other)),
        }
    }

    fn fault(&self, answer: &str) -> io::Error {
        io::Error::other(format!("{}: {}", self.name, if answer.is_empty() { "ended" } else { answer }))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{question}")?;
        input.flush()?;
        let answer = self.line()?;
        if answer.is_empty() || answer.starts_with("error") { Err(self.fault(&answer)) } else { Ok(answer) }
    }

    /// Does so many operations: wall and CPU time of all together.
    pub fn run(&mut self, times: u32) -> io::Result<(Duration, Duration)> {
        let answer = self.ask(&format!("run {times}"))?;
        let mut numbers = answer.split(' ').filter_map(|n| n.parse().ok()).map(Duration::from_nanos);
        numbers.next().zip(numbers.next()).ok_or_else(|| self.fault(&answer))
    }

    /// The version of python-tuf.
    pub fn version(&mut self) -> io::Result<String> {
        self.ask("version")
    }

    /// Peak resident memory so far, in bytes.
    pub fn peak(&mut self) -> io::Result<u64> {
        let answer = self.ask("peak")?;
        answer.parse().map_err(|_| self.fault(&answer))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input is the end of its work.
        self.input.take();
        let _ = self.child.wait();
    }
}
