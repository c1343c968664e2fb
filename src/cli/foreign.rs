//! Flags that other programs know and this one does not serve, as data: they are taken in their forms, so that an operator can
//! start with the flags he has, and what is not served is said.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use super::parse_bool;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// true or false, or nothing for true.
    Switch,
    /// A number from 0 up.
    Number,
    /// Anything.
    Text,
    /// Anything, as often as wanted.
    List,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Told as not served yet, when something is asked for with it.
    Later,
    /// Told as deprecated, which it is in nwaku too.
    Deprecated,
    /// Told why it has no effect.
    Told(&'static str),
    /// The start is refused with this.
    Refused(&'static str),
}

/// A flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// Its name.
    pub flag: &'static str,
    /// What it takes.
    pub form: Form,
    /// What it is without being given; nothing if empty.
    pub default: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

const fn later(flag: &'static str, form: Form, default: &'static str) -> Foreign {
    Foreign { flag, form, default, fate: Fate::Later }
}

/// All of them.  Deployed: nwaku 0.37; those after the deprecated ones are go-waku's.
pub const FOREIGN: [Foreign; 23] = [
    Foreign {
        flag: "store-message-db-vacuum",
        form: Form::Switch,
        default: "false",
        fate: Fate::Told("--store-message-db-vacuum: the archive gives back what it does not need, all the time"),
    },
    Foreign {
        flag: "store-message-db-migration",
        form: Form::Switch,
        default: "true",
        fate: Fate::Told("--store-message-db-migration: the archive is brought up to date at every start"),
    },
    later("store-sync", Form::Switch, "false"),
    later("store-sync-interval", Form::Number, "300"),
    later("store-sync-range", Form::Number, "3600"),
    later("metrics-logging", Form::Switch, "true"),
    later("rendezvous", Form::Switch, "true"),
    later("reliability", Form::Switch, "false"),
    later("mix", Form::Switch, "false"),
    later("mixkey", Form::Text, ""),
    later("mixnode", Form::List, ""),
    later("relay-peer-exchange", Form::Switch, "false"),
    later("relay-shard-manager", Form::Switch, "false"),
    later("relay-client", Form::Switch, "false"),
    Foreign { flag: "keep-alive", form: Form::Switch, default: "true", fate: Fate::Deprecated },
    Foreign { flag: "max-relay-peers", form: Form::Number, default: "", fate: Fate::Deprecated },
    Foreign {
        flag: "store-message-retention-time",
        form: Form::Text,
        default: "",
        fate: Fate::Told(
            "--store-message-retention-time has no effect: give --store-message-retention-policy=time:SECONDS",
        ),
    },
    Foreign {
        flag: "store-message-retention-capacity",
        form: Form::Number,
        default: "",
        fate: Fate::Told(
            "--store-message-retention-capacity has no effect: give --store-message-retention-policy=capacity:ROWS",
        ),
    },
    later("pprof", Form::Switch, "false"),
    Foreign {
        flag: "show-addresses",
        form: Form::Switch,
        default: "false",
        fate: Fate::Told("--show-addresses: the first lines of the output do"),
    },
    Foreign {
        flag: "key-password",
        form: Form::Text,
        default: "",
        fate: Fate::Refused(
            "--key-password: encrypted key files are not read. Give the 64 hex digits of the key in --nodekey-file",
        ),
    },
    Foreign {
        flag: "log-encoding",
        form: Form::Text,
        default: "",
        fate: Fate::Refused(
            "--log-encoding is --log-format here: TEXT or JSON; NO_COLOR=1 in the environment for no colour",
        ),
    },
    Foreign {
        flag: "log-output",
        form: Form::Text,
        default: "",
        fate: Fate::Refused("--log-output: logs go to standard error. Redirect it, 2>node.log for example"),
    },
];

/// Those of [`FOREIGN`] that were given.
#[derive(Debug, Clone, Default)]
pub struct ForeignArgs {
    /// Those that ask for something.
    pub asked: Vec<&'static Foreign>,
}

impl ForeignArgs {
    /// Is something asked for with this flag?
    #[must_use]
    pub fn asks(&self, flag: &str) -> bool {
        self.asked.iter().any(|foreign| foreign.flag == flag)
    }
}

impl Foreign {
    fn arg(&self) -> Arg {
        let arg =
            Arg::new(self.flag).long(self.flag).hide(true).help(self.help()).help_heading("Known, and not served");
        let arg = match self.form {
            Form::Switch => arg
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(parse_bool),
            Form::Number => arg.value_name("N").value_parser(clap::value_parser!(u64)),
            Form::Text => arg.value_name("TEXT"),
            Form::List => arg.value_name("TEXT").action(clap::ArgAction::Append),
        };
        if self.default.is_empty() { arg } else { arg.default_value(self.default) }
    }

    fn help(&self) -> &'static str {
        match self.fate {
            Fate::Later => "Not served yet",
            Fate::Deprecated => "Deprecated, and without effect",
            Fate::Told(why) | Fate::Refused(why) => why,
        }
    }

    /// Was it given, and does it ask for anything? A switch that is off asks for nothing, nor does an empty text, which compose files
    /// pass for what is not set.
    fn is_asked(&self, matches: &ArgMatches) -> bool {
        if matches.value_source(self.flag) != Some(ValueSource::CommandLine) {
            return false;
        }
        match self.form {
            _ if self.fate == Fate::Deprecated => true,
            Form::Switch => matches.get_one::<bool>(self.flag).is_some_and(|on| *on),
            Form::Number => true,
            Form::Text | Form::List => {
                matches.get_many::<String>(self.flag).into_iter().flatten().any(|text| !text.is_empty())
            }
        }
    }
}

impl Args for ForeignArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FOREIGN.iter().map(Foreign::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForeignArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { asked: FOREIGN.iter().filter(|foreign| foreign.is_asked(matches)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
