//! Faults on demand, and the other orders that a test or a person gives.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use crate::wire::control::Command;

/// What goes wrong with the answer to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The daemon works this much longer, and everybody waits.
    Slow(Duration),
    /// The daemon never answers, and nobody else either, until the faults are cleared or it is restarted.
    Hang,
    /// The daemon does nothing and answers this text and `MICA-FAILED`.
    Refuse(String),
    /// The daemon does its work; its answer ends within the marker.
    Cut,
    /// The same, and the daemon is gone: its sockets are stale.
    Die,
    /// The answer comes byte by byte with this pause after each.
    Split(Duration),
    /// A start finds a resource table that the daemon cannot parse.
    Table,
}

/// A message that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The command's word; none for all.
    pub command: Option<String>,
    /// What happens.
    pub effect: Effect,
    /// Whether it happens again and again, or to the next such message alone.
    pub every: bool,
}

/// The commands that a fault can name.
const COMMANDS: [&str; 7] = ["create", "start", "stop", "rm", "status", "set", "gdb"];

/// An order to the simulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Something shall go wrong.
    Fault(Fault),
    /// Nothing more shall go wrong. What hangs goes on.
    Clear,
    /// The daemon ends, cleans nothing up, and starts again: it has forgotten every client.
    Restart,
    /// The daemon ends and cleans nothing up. A restart brings it back.
    Crash,
    /// The daemon ends as on SIGTERM: its sockets go, domains stay. Has no word: nobody could take it back.
    Leave,
    /// Lists the guests.
    Guests,
    /// The client's tty goes away, and its guest runs on.
    LoseTty(String),
    /// The client's guest announces its tty again.
    GiveTty(String),
    /// The guest no longer listens to the daemon's requests to turn itself off.
    Deaf(String),
    /// The guest dies, which the daemon does not see.
    Kill(String),
    /// The guest writes 0x84000002 (PSCI CPU_OFF) into its resource table and turns itself off.
    Off(String),
}

/// An order or fault that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no order. Orders are: [every] create|start|stop|rm|status|set|gdb|any slow MS|hang|refuse TEXT|cut|die|\
     split MS|table, clear, restart, crash, guests, lose-tty NAME, give-tty NAME, deaf NAME, kill NAME, off NAME"
)]
pub struct NoOrder(String);

impl FromStr for Order {
    type Err = NoOrder;

    fn from_str(text: &str) -> Result<Order, NoOrder> {
        let (word, rest) = split(text);
        let name = || (!rest.is_empty()).then(|| rest.to_owned());
        let order = match word {
            "clear" | "restart" | "crash" | "guests" if !rest.is_empty() => None,
            "clear" => Some(Order::Clear),
            "restart" => Some(Order::Restart),
            "crash" => Some(Order::Crash),
            "guests" => Some(Order::Guests),
            "lose-tty" => name().map(Order::LoseTty),
            "give-tty" => name().map(Order::GiveTty),
            "deaf" => name().map(Order::Deaf),
            "kill" => name().map(Order::Kill),
            "off" => name().map(Order::Off),
            _ => fault(text).map(Order::Fault),
        };
        order.ok_or_else(|| NoOrder(text.to_owned()))
    }
}

fn fault(text: &str) -> Option<Fault> {
    let (every, text) = match split(text) {
        ("every", rest) => (true, rest),
        _ => (false, text),
    };
    let (command, effect) = split(text);
    let command = match command {
        "any" => None,
        word => Some(COMMANDS.into_iter().find(|known| *known == word)?.to_owned()),
    };
    Some(Fault { command, effect: effect.parse().ok()?, every })
}

impl FromStr for Effect {
    type Err = NoOrder;

    fn from_str(text: &str) -> Result<Effect, NoOrder> {
        let (word, rest) = split(text);
        let time = || rest.parse().ok().map(Duration::from_millis);
        let effect = match word {
            "slow" => time().map(Effect::Slow),
            "split" => time().map(Effect::Split),
            "refuse" => Some(Effect::Refuse(rest.to_owned())),
            _ if !rest.is_empty() => None,
            "hang" => Some(Effect::Hang),
            "cut" => Some(Effect::Cut),
            "die" => Some(Effect::Die),
            "table" => Some(Effect::Table),
            _ => None,
        };
        effect.ok_or_else(|| NoOrder(text.to_owned()))
    }
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// The faults that wait for their message, in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: VecDeque<Fault>,
    cleared: u64,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, fault: Fault) {
        self.waiting.push_back(fault);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.cleared += 1;
    }

    /// How often they were cleared.
    pub fn cleared(&self) -> u64 {
        self.cleared
    }

    /// What goes wrong with a control message.
    pub fn control(&mut self, command: &Command) -> Option<Effect> {
        self.take(&command.to_string())
    }

    /// What goes wrong with a create message.
    pub fn create(&mut self) -> Option<Effect> {
        self.take("create")
    }

    fn take(&mut self, word: &str) -> Option<Effect> {
        let meant = |fault: &Fault| fault.command.as_deref().is_none_or(|command| command == word);
        let index = self.waiting.iter().position(meant)?;
        let fault = self.waiting.get(index)?;
        if fault.every {
            Some(fault.effect.clone())
        } else {
            self.waiting.remove(index).map(|fault| fault.effect)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Order {
        text.parse().unwrap()
    }

    #[test]
    fn orders_are_read() {
        let refuse = Effect::Refuse("no  more memory".to_owned());
        let fault = |command: Option<&str>, effect, every| {
            Order::Fault(Fault { command: command.map(str::to_owned), effect, every })
        };
        assert_eq!(order("start refuse no  more memory"), fault(Some("start"), refuse, false));
        assert_eq!(order(" every any slow 20 "), fault(None, Effect::Slow(Duration::from_millis(20)), true));
        assert_eq!(order("lose-tty a"), Order::LoseTty("a".to_owned()));
        for text in
            ["", "start", "start slow", "start slow soon", "pause hang", "restart now", "kill", "hang"]
        {
            assert!(text.parse::<Order>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_hits_once_or_every_time() {
        let mut faults = Faults::default();
        for text in ["stop hang", "every any cut"] {
            let Order::Fault(fault) = order(text) else { panic!("{text}") };
            faults.add(fault);
        }
        assert_eq!(faults.control(&Command::Stop), Some(Effect::Hang));
        assert_eq!(faults.control(&Command::Stop), Some(Effect::Cut));
        assert_eq!(faults.create(), Some(Effect::Cut));
        faults.clear();
        assert_eq!(faults.create(), None);
    }
}
