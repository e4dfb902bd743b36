//! `micad-sim`: the simulator as a program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use micad_sim::tty::{FirstWords, Naming};
use micad_sim::{Hypervisor, Options, Sim, control};
use micrun_image_spec::board::Boards;
use nix::sys::signal::{SigSet, Signal};

const EXAMPLES: &str = "\
Examples:
  micad-sim                                  # in /run/mica, with guests in QEMU, until Ctrl-C
  micad-sim --hypervisor xen                 # in Dom0: clients become domains, and outlive a SIGTERM
  micad-sim --dir /tmp/m/mica --dev /tmp/m --xen-dir /tmp/m --control /tmp/m/control   # not as root

  micad-sim order guests                     # what runs
  micad-sim order start slow 3000            # the next start takes three seconds longer
  micad-sim order every status cut           # every answer to status ends in its middle
  micad-sim order create refuse no memory    # the next create fails and says so
  micad-sim order restart                    # the daemon dies and starts again
  micad-sim order clear                      # nothing goes wrong any more

Orders: [every] create|start|stop|rm|status|set|gdb|any slow MS|hang|refuse TEXT|cut|die|split MS|
table, clear, restart, crash, guests, lose-tty NAME, give-tty NAME, deaf NAME, kill NAME,
off NAME.";

/// A stand-in for the mica daemon, whose guests are real.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Sub {
    /// Tell a running simulator what shall go wrong, or ask for its guests
    Order {
        /// The simulator's control socket
        #[arg(long, default_value = CONTROL)]
        control: PathBuf,
        /// The order, as listed below
        #[arg(required = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
}

const CONTROL: &str = "/run/micad-sim.socket";

#[derive(Args)]
struct Serve {
    /// Where the daemon's sockets are; emptied at the start
    #[arg(long, default_value = "/run/mica")]
    dir: PathBuf,
    /// Where the links to ttys go
    #[arg(long, default_value = "/dev")]
    dev: PathBuf,
    /// Where xl's configurations go
    #[arg(long, default_value = "/etc/xen")]
    xen_dir: PathBuf,
    /// The socket for orders
    #[arg(long, default_value = CONTROL)]
    control: PathBuf,
    /// What guests run on
    #[arg(long, value_enum, default_value = "qemu")]
    hypervisor: Kind,
    /// The board profile that boots every firmware; without it, the usual one of its architecture
    #[arg(long)]
    board: Option<String>,
    /// A directory of further board profiles
    #[arg(long, default_value = "/etc/mica/micrun/boards.d")]
    boards: PathBuf,
    /// How ttys are named: ttyRPMSG0, or ttyRPMSG_NAME_0
    #[arg(long, value_enum, default_value = "legacy")]
    tty_names: Names,
    /// How many cores the board has; the first is Linux's
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    cores: u32,
    /// How long a guest takes to announce its tty, milliseconds
    #[arg(long, default_value_t = 200)]
    tty_delay: u64,
    /// Guests say nothing before something was written to their tty, as the original's guests do
    #[arg(long)]
    silent_until_spoken_to: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Qemu,
    Xen,
}

#[derive(Clone, Copy, ValueEnum)]
enum Names {
    Legacy,
    Client,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Sub::Order { control, words }) => control::give(&control, &words.join(" "))
            .map(|answer| print!("{answer}"))
            .map_err(|error| format!("{error} (control socket: {})", control.display())),
        None => serve(cli.serve),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micad-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(serve: Serve) -> Result<(), String> {
    // Blocked before there are threads, so that every one of them inherits it.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block().map_err(|error| format!("cannot block signals: {error}"))?;
    let (dir, control) = (serve.dir.clone(), serve.control.clone());
    let sim = Arc::new(Sim::start(options(serve)?).map_err(with_causes)?);
    let (served, socket) = (Arc::clone(&sim), control.clone());
    std::thread::spawn(move || {
        if let Err(error) = control::serve(&served, &socket) {
            eprintln!("micad-sim: no orders can be given at {}: {error}", socket.display());
        }
    });
    eprintln!("micad-sim: listening in {}", dir.display());
    let signal = signals.wait().map_err(|error| format!("cannot wait for signals: {error}"))?;
    eprintln!("micad-sim: {signal}");
    // Whoever removed it meanwhile wanted it gone.
    let _ = std::fs::remove_file(&control);
    match signal {
        // systemd stops or restarts the service; a person who presses Ctrl-C is done.
        Signal::SIGTERM => sim.leave(),
        _ => sim.end(),
    }
    Ok(())
}

fn options(serve: Serve) -> Result<Options, String> {
    let hypervisor = match serve.hypervisor {
        Kind::Xen => Hypervisor::Xen,
        Kind::Qemu => {
            let boards = Boards::load(&[serve.boards]).map_err(with_causes)?;
            Hypervisor::Qemu { boards, board: serve.board }
        }
    };
    let naming = match serve.tty_names {
        Names::Legacy => Naming::Legacy,
        Names::Client => Naming::ClientName,
    };
    let spoken_to = serve.silent_until_spoken_to;
    Ok(Options {
        dir: serve.dir,
        dev: serve.dev,
        xen_dir: serve.xen_dir,
        hypervisor,
        naming,
        cores: serve.cores,
        tty_delay: Duration::from_millis(serve.tty_delay),
        first_words: if spoken_to { FirstWords::WhenSpokenTo } else { FirstWords::OnceRaw },
        keep_journal: false,
    })
}

/// The error with what is behind it, on one line.
fn with_causes(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
