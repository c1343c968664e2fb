//! The route file: an ordered table of what crosses where.  Source of the form: TOML, one `[[route]]` a route, first match first.
//!
//! Everything about one route is checked here, and named by its place and name; what the routes do to each other is
//! [`Router::shadows`]'s. Limits: [`MAX_FILE_BYTES`] a file, [`bridge::router::MAX_ROUTES`] routes, [`MAX_TOPICS`] shards.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use bridge::{
    Direction,
    content_topic::canonical,
    policy::Ways,
    router::{Route, Router, RouterError, Signing, Topics},
};
use serde::Deserialize;
use waku0::Topic;
use waku2::{
    ClusterId, PubsubTopic, Shard,
    relay::MAX_TOPICS,
    shard::shard_of,
    signed::{SigningKey, VerifyingKey},
};

use super::reserves::{ReserveError, Reserves, Share};

/// Longest file that is read, in bytes: a route file, or one of topics, which then holds ninety thousand.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A table that can be bridged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The routes.
    pub router: Router,
    /// What is kept of our rate for some of them.
    pub reserves: Reserves,
    /// What an operator should know of it.
    pub notices: Vec<String>,
}

/// What a table has to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The network that we are in.
    pub cluster: ClusterId,
    /// Its signed shards.
    pub protected: HashMap<PubsubTopic, VerifyingKey>,
    /// Is there an archive to keep what goes nowhere else?
    pub has_archive: bool,
    /// Does the network ask for rate-limit proofs?
    pub has_proofs: bool,
}

/// Why a file makes no table.
#[derive(Debug, thiserror::Error)]
pub enum RouteFileError {
    /// It can't be read.
    #[error("the route file {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is longer than [`MAX_FILE_BYTES`].
    #[error("{0} is over {MAX_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    /// It is no TOML, or not of this form; the text says where.
    #[error("the route file {0}:\n{1}")]
    Form(PathBuf, toml::de::Error),
    /// A route can't be.
    #[error("the route file {path}, route {place} ({name}): {cause}")]
    Route {
        /// Which file.
        path: PathBuf,
        /// Which route, counted from 1.
        place: usize,
        /// Its name.
        name: String,
        /// What is wrong with it.
        cause: RouteError,
    },
    /// Shares of our rate that can't be kept.
    #[error("the route file {0}, {1}")]
    Reserve(PathBuf, ReserveError),
    /// The routes make no table.
    #[error("the route file {0}: {1}")]
    Table(PathBuf, RouterError),
    /// They name more shards than a node relays.
    #[error("the route file {0} names {1} pubsub topics; {MAX_TOPICS} is the most that a node relays")]
    TooManyTopics(PathBuf, usize),
}

/// What is wrong with a route.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Neither a pubsub topic nor `auto:`.
    #[error(
        "pubsub = {0:?}: give \"/waku/2/rs/<cluster>/<shard>\", or \"auto:shards=<number>\" for the shard on which bridged topics land"
    )]
    Pubsub(String),
    /// A shard of another network.
    #[error("pubsub = {topic:?} is of another cluster than ours, {}: peers would leave us", .own.0)]
    OtherCluster {
        /// What it names.
        topic: PubsubTopic,
        /// Where we are.
        own: ClusterId,
    },
    /// Neither `*` nor topics.
    #[error("v1_topics = {0:?}: give \"*\", or a list of topics of 8 hexadecimal digits")]
    Topics(String),
    /// Neither `v1_topics` nor `v1_topics_file`, or both.
    #[error("give either v1_topics or v1_topics_file")]
    WhichTopics,
    /// A list without a topic takes nothing.
    #[error("it takes no topic")]
    NoTopic,
    /// A file can't be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// A file is too long.
    #[error("{0} is over {MAX_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    /// A line of a file of topics.
    #[error("{0}, line {1}: not a topic of 8 hexadecimal digits")]
    Line(PathBuf, usize),
    /// It is for the archive, and there is none.
    #[error("direction = \"archive-only\" needs an archive: add --archive")]
    NoArchive,
    /// None of the directions.
    #[error("direction = {0:?}: give \"both\", \"v1-to-v2\", \"v2-to-v1\" or \"archive-only\"")]
    Direction(String),
    /// It wants a share of a rate that nobody counts.
    #[error("rln = {0:?}: this network asks for no rate-limit proofs; leave it out")]
    NoProofs(String),
    /// It wants a share of which nothing is said.
    #[error("rln = {0:?}: no [rln.{0}] says how much is kept for it; give one with percent = 1 to 100")]
    NoClass(String),
    /// Both forms of a key.
    #[error("give either sign_key or sign_key_file")]
    WhichKey,
    /// Not a key.
    #[error("the key to sign with: 64 hexadecimal digits, a secret of the curve secp256k1")]
    Key,
    /// The shard's messages are verified with another key.
    #[error("the key to sign with is not that of --protected-shard: nobody would take what it signs")]
    OtherKey,
    /// An empty name, or one that labels of metrics can't hold.
    #[error("a name has 1 to 64 printable characters")]
    Name,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rln: BTreeMap<String, Share>,
    #[serde(default)]
    route: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    v1_topics: Option<OneOrMany>,
    v1_topics_file: Option<PathBuf>,
    pubsub: String,
    #[serde(default = "both")]
    direction: String,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    fanout: bool,
    max_msgs_per_s: Option<NonZeroU32>,
    sign_key: Option<String>,
    sign_key_file: Option<PathBuf>,
    rln: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn both() -> String {
    Ways::Both.as_str().to_owned()
}

/// Reads a route file. Files that it names are sought beside it.
///
/// # Errors
/// See [`RouteFileError`]: the file, the route, and what to write instead.
pub fn read(path: &Path, around: &Surroundings) -> Result<Table, RouteFileError> {
    let text = match read_text(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(RouteFileError::TooLong(path.to_owned())),
        Err(error) => return Err(RouteFileError::Unreadable(path.to_owned(), error)),
    };
    let file: File = toml::from_str(&text).map_err(|error| RouteFileError::Form(path.to_owned(), error))?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let reserves = Reserves::of_file(file.rln, around.has_proofs);
    let reserves = reserves.map_err(|error| RouteFileError::Reserve(path.to_owned(), error))?;
    let mut notices = Vec::new();
    let mut routes = Vec::new();
    for (place, entry) in (1..).zip(file.route) {
        let name = entry.name.clone().unwrap_or_else(|| format!("route-{place}"));
        let refused = |cause| RouteFileError::Route { path: path.to_owned(), place, name: name.clone(), cause };
        let route = entry.route(&name, directory, around, &reserves).map_err(refused)?;
        if route.signing == Signing::NoKey && route.ways != Ways::V2ToV1 {
            notices.push(format!(
                "route {name}: {} is a signed shard and the route has no sign_key, so it only receives",
                route.pubsub
            ));
        }
        if let (Some(class), false) = (&route.class, route.leads(Direction::V1ToV2)) {
            notices.push(format!("route {name}: rln = {class:?} has no effect, since it publishes nothing"));
        }
        routes.push(route);
    }
    notices.extend(unused(&reserves, &routes));
    let router = Router::table(routes).map_err(|error| RouteFileError::Table(path.to_owned(), error))?;
    match router.pubsub_topics().len() {
        count if count > MAX_TOPICS => Err(RouteFileError::TooManyTopics(path.to_owned(), count)),
        _ => Ok(Table { router, reserves, notices }),
    }
}

/// Shares that no route spends.
fn unused<'a>(reserves: &'a Reserves, routes: &'a [Route]) -> impl Iterator<Item = String> + 'a {
    let is_spent = |class: &Arc<str>| {
        routes.iter().any(|route| route.class.as_ref() == Some(class) && route.leads(Direction::V1ToV2))
    };
    let unused = reserves.shares().filter(move |(class, _)| !is_spent(class));
    unused.map(|(class, percent)| {
        format!("[rln.{class}]: {percent} percent are kept for it, and no route publishes by it")
    })
}

/// The text of a file; `None` if it is too long.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    if fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Ok(None);
    }
    fs::read_to_string(path).map(Some)
}

impl Entry {
    fn route(
        self,
        name: &str,
        directory: &Path,
        around: &Surroundings,
        reserves: &Reserves,
    ) -> Result<Route, RouteError> {
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            return Err(RouteError::Name);
        }
        let class = self.rln.as_deref().map(|class| class_of(class, around, reserves)).transpose()?;
        let ways = self.direction.parse().map_err(|_| RouteError::Direction(self.direction.clone()))?;
        if ways == Ways::ArchiveOnly && !around.has_archive {
            return Err(RouteError::NoArchive);
        }
        let pubsub = pubsub(&self.pubsub, around.cluster)?;
        let topics = match (&self.v1_topics, &self.v1_topics_file) {
            (Some(given), None) => topics(given)?,
            (None, Some(file)) => topics_of(&directory.join(file))?,
            _ => return Err(RouteError::WhichTopics),
        };
        let signing = self.signing(directory, around.protected.get(&pubsub))?;
        Ok(Route {
            name: name.into(),
            topics,
            pubsub,
            ways,
            priority: self.priority,
            fanout: self.fanout,
            max_per_sec: self.max_msgs_per_s,
            signing,
            class,
        })
    }

    fn signing(&self, directory: &Path, verified_with: Option<&VerifyingKey>) -> Result<Signing, RouteError> {
        let text = match (&self.sign_key, &self.sign_key_file) {
            (None, None) => {
                return Ok(if verified_with.is_some() { Signing::NoKey } else { Signing::Open });
            }
            (Some(text), None) => text.clone(),
            (None, Some(file)) => text_of(&directory.join(file))?,
            (Some(_), Some(_)) => return Err(RouteError::WhichKey),
        };
        let key: SigningKey = text.trim().parse().map_err(|_| RouteError::Key)?;
        match verified_with {
            Some(expected) if *expected != key.verifying() => Err(RouteError::OtherKey),
            _ => Ok(Signing::With(Box::new(key))),
        }
    }
}

fn class_of(class: &str, around: &Surroundings, reserves: &Reserves) -> Result<Arc<str>, RouteError> {
    if !around.has_proofs {
        return Err(RouteError::NoProofs(class.to_owned()));
    }
    reserves.class(class).ok_or_else(|| RouteError::NoClass(class.to_owned()))
}

fn pubsub(text: &str, own: ClusterId) -> Result<PubsubTopic, RouteError> {
    let unknown = || RouteError::Pubsub(text.to_owned());
    let topic = match text.strip_prefix("auto:") {
        Some(settings) => automatic(settings, own).ok_or_else(unknown)?,
        None => text.parse().map_err(|_| unknown())?,
    };
    match topic.as_str().parse::<Shard>() {
        Ok(shard) if shard.cluster != own => Err(RouteError::OtherCluster { topic, own }),
        _ => Ok(topic),
    }
}

/// `cluster=1,shards=8`, the cluster being ours if it is left out: where every `/waku/1/…` content topic lands.
/// Spec: 51/WAKU2-RELAY-SHARDING, "Automatic Sharding".
fn automatic(settings: &str, own: ClusterId) -> Option<PubsubTopic> {
    let (mut cluster, mut shards) = (own, None);
    for setting in settings.split(',') {
        match setting.split_once('=')? {
            ("cluster", number) => cluster = ClusterId(number.parse().ok()?),
            ("shards", number) => shards = Some(number.parse().ok()?),
            _ => return None,
        }
    }
    let index = shard_of(&canonical(Topic([0; 4])), shards?).ok()?;
    Some(Shard { cluster, index }.into())
}

fn topics(given: &OneOrMany) -> Result<Topics, RouteError> {
    let list = match given {
        OneOrMany::One(text) if text == "*" => return Ok(Topics::All),
        OneOrMany::One(text) => std::slice::from_ref(text),
        OneOrMany::Many(list) => list,
    };
    let topic = |text: &String| text.parse::<Topic>().map_err(|_| RouteError::Topics(text.clone()));
    some(list.iter().map(topic).collect::<Result<_, _>>()?)
}

/// One topic a line; empty lines, and what follows a `#`, are left out.
fn topics_of(path: &Path) -> Result<Topics, RouteError> {
    let text = text_of(path)?;
    let mut topics = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            topics.push(line.parse::<Topic>().map_err(|_| RouteError::Line(path.to_owned(), number))?);
        }
    }
    some(topics)
}

fn some(topics: Vec<Topic>) -> Result<Topics, RouteError> {
    if topics.is_empty() { Err(RouteError::NoTopic) } else { Ok(topics.into_iter().collect()) }
}

fn text_of(path: &Path) -> Result<String, RouteError> {
    match read_text(path) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(RouteError::TooLong(path.to_owned())),
        Err(error) => Err(RouteError::Unreadable(path.to_owned(), error)),
    }
}

/// A sample with a word on everything.
pub const SAMPLE: &str = include_str!("routes.toml");

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

    fn around() -> Surroundings {
        let key: SigningKey = KEY.parse().unwrap();
        let signed: PubsubTopic = "/waku/2/rs/16/128".parse().unwrap();
        Surroundings {
            cluster: ClusterId(16),
            protected: HashMap::from([(signed, key.verifying())]),
            has_archive: false,
            has_proofs: false,
        }
    }

    /// A directory with a route file, and a file of topics beside it.
    fn read_table(text: &str) -> Result<Table, String> {
        read_table_in(text, &around())
    }

    fn read_table_in(text: &str, around: &Surroundings) -> Result<Table, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("routes.toml");
        fs::write(&path, text).unwrap();
        fs::write(directory.path().join("topics.txt"), "0x01020304 # one\n\n  05060708\n").unwrap();
        fs::write(directory.path().join("bad.txt"), "0x01020304\nnone\n").unwrap();
        fs::write(directory.path().join("none.txt"), "# nothing\n").unwrap();
        fs::write(directory.path().join("key"), format!("0x{KEY}\n")).unwrap();
        read(&path, around).map_err(|error| error.to_string())
    }

    fn one(lines: &str) -> Result<Route, String> {
        let table = read_table(&format!("[[route]]\n{lines}\n"))?;
        Ok(table.router.routes()[0].as_ref().clone())
    }

    #[test]
    fn the_sample_is_a_table_and_says_everything() {
        let table = read_table(SAMPLE).unwrap();
        let told: Vec<String> = table.router.routes().iter().map(|route| format!("{}: {route}", route.name)).collect();
        assert_eq!(
            told,
            [
                "personal: 2 topics <-> /waku/2/rs/16/64",
                "communities: * <-- /waku/2/rs/16/32",
                "rest: * <-> /waku/2/rs/16/64"
            ]
        );
        assert_eq!((table.notices, table.router.shadows()), (vec![], vec![]));
        let keys = [
            "name",
            "v1_topics",
            "v1_topics_file",
            "pubsub",
            "direction",
            "priority",
            "fanout",
            "max_msgs_per_s",
            "sign_key",
            "sign_key_file",
            "rln",
            "percent",
        ];
        for key in keys {
            assert!(SAMPLE.contains(&format!("{key} = ")), "{key}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let route = one("v1_topics = \"*\"\npubsub = \"/waku/2/rs/16/32\"").unwrap();
        let everything = Route::everything("/waku/2/rs/16/32".parse().unwrap(), Ways::Both);
        assert_eq!(route, Route { name: "route-1".into(), ..everything });
    }

    #[test]
    fn each_key_has_its_effect() {
        let with = |line: &str| one(&format!("v1_topics = \"*\"\npubsub = \"/waku/2/rs/16/32\"\n{line}")).unwrap();
        assert_eq!(&*with("name = \"a\"").name, "a");
        assert_eq!(with("direction = \"v2-to-v1\"").ways, Ways::V2ToV1);
        assert_eq!((with("priority = 7").priority, with("fanout = true").fanout), (7, true));
        assert_eq!(with("max_msgs_per_s = 50").max_per_sec, NonZeroU32::new(50));
        let signed = Signing::With(Box::new(KEY.parse().unwrap()));
        assert_eq!(with(&format!("sign_key = \"{KEY}\"")).signing, signed);
        assert_eq!(with("sign_key_file = \"key\"").signing, signed);
        let topics = |line: &str| one(&format!("{line}\npubsub = \"/waku/2/rs/16/32\"")).unwrap().topics;
        let two: Topics = [Topic([1, 2, 3, 4]), Topic([5, 6, 7, 8])].into_iter().collect();
        assert_eq!(topics("v1_topics = [\"0x01020304\", \"05060708\"]"), two);
        assert_eq!(topics("v1_topics_file = \"topics.txt\""), two);
        assert_eq!(topics("v1_topics = \"01020304\""), [Topic([1, 2, 3, 4])].into_iter().collect());
        let auto = |text: &str| one(&format!("v1_topics = \"*\"\npubsub = \"{text}\"")).unwrap().pubsub.to_string();
        assert_eq!(auto("auto:shards=8"), "/waku/2/rs/16/4");
        assert_eq!(auto("auto:cluster=16,shards=16"), "/waku/2/rs/16/12");
    }

    #[test]
    fn a_share_is_kept_for_the_routes_that_name_it() {
        let proving = Surroundings { has_proofs: true, ..around() };
        let route = |more: &str| format!("[[route]]\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/16/32\"\n{more}\n");
        let table = |text: &str| read_table_in(text, &proving);
        let kept = table(&format!("[rln.pool-a]\npercent = 60\n{}", route("rln = \"pool-a\""))).unwrap();
        assert_eq!(kept.router.routes()[0].class.as_deref(), Some("pool-a"));
        assert_eq!((kept.reserves.rest(), kept.notices), (40, vec![]));
        for (text, word) in [
            (route("rln = \"pool-b\""), "no [rln.pool-b] says how much"),
            (format!("{}[rln.a]\npercent = 60\n[rln.b]\npercent = 41", route("")), "101 percent are kept in all"),
            (format!("{}[rln.a]\npercent = 300", route("")), "line 6"),
            (format!("{}[rln.a]\npart = 3", route("")), "part"),
        ] {
            let said = table(&text).unwrap_err();
            assert!(said.contains("routes.toml") && said.contains(word), "{text}: {said}");
        }
        let idle = format!("[rln.a]\npercent = 60\n{}", route("rln = \"a\"\ndirection = \"v2-to-v1\""));
        let notices = table(&idle).unwrap().notices;
        assert!(
            notices[0].contains("publishes nothing") && notices[1].contains("no route publishes by it"),
            "{notices:?}"
        );
        let said = read_table(&format!("[rln.a]\npercent = 60\n{}", route(""))).unwrap_err();
        assert!(said.contains("[rln.a]: this network asks for no rate-limit proofs"), "{said}");
    }

    #[test]
    fn a_signed_shard_without_its_key_is_told() {
        let table = read_table("[[route]]\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/16/128\"").unwrap();
        assert_eq!(table.router.routes()[0].signing, Signing::NoKey);
        assert!(table.notices[0].contains("only receives"), "{:?}", table.notices);
        let only = "[[route]]\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/16/128\"\ndirection = \"v2-to-v1\"";
        assert_eq!(read_table(only).unwrap().notices, Vec::<String>::new());
    }

    #[test]
    fn refusals_name_the_file_the_route_and_the_way_out() {
        let pubsub = "pubsub = \"/waku/2/rs/16/32\"";
        let all = "v1_topics = \"*\"";
        for (lines, word) in [
            (format!("{all}\npubsub = \"\""), "auto:shards="),
            (format!("{all}\npubsub = \"auto:shards=0\""), "auto:shards="),
            (format!("{all}\npubsub = \"/waku/2/rs/1/3\""), "another cluster than ours, 16"),
            (format!("{all}\npubsub = \"auto:cluster=1,shards=8\""), "another cluster"),
            (format!("v1_topics = [\"0x112233\"]\n{pubsub}"), "\"0x112233\""),
            (format!("v1_topics = []\n{pubsub}"), "takes no topic"),
            (pubsub.to_owned(), "either v1_topics or v1_topics_file"),
            (format!("{all}\nv1_topics_file = \"topics.txt\"\n{pubsub}"), "either"),
            (format!("v1_topics_file = \"bad.txt\"\n{pubsub}"), "bad.txt, line 2"),
            (format!("v1_topics_file = \"none.txt\"\n{pubsub}"), "takes no topic"),
            (format!("v1_topics_file = \"absent.txt\"\n{pubsub}"), "absent.txt"),
            (format!("{all}\n{pubsub}\ndirection = \"archive-only\""), "needs an archive"),
            (format!("{all}\n{pubsub}\ndirection = \"east\""), "\"east\""),
            (format!("{all}\n{pubsub}\nrln = \"pool-a\""), "asks for no rate-limit proofs"),
            (format!("{all}\n{pubsub}\nsign_key = \"01\""), "64 hexadecimal digits"),
            (format!("{all}\n{pubsub}\nsign_key = \"{KEY}\"\nsign_key_file = \"key\""), "either sign_key"),
            (
                format!("{all}\npubsub = \"/waku/2/rs/16/128\"\nsign_key = \"{}\"", "02".repeat(32)),
                "not that of --protected-shard",
            ),
            (format!("name = \"\"\n{all}\n{pubsub}"), "1 to 64"),
        ] {
            let said = one(&lines).unwrap_err();
            assert!(said.contains("routes.toml, route 1 (") && said.contains(word), "{lines}: {said}");
        }
    }

    #[test]
    fn what_is_no_table_is_named_by_its_line() {
        for (text, word) in [
            ("", "there is no route"),
            ("[[route]]\npubsub = 3", "line 2"),
            ("[[route]]\nprioritty = 3", "prioritty"),
            ("[[route]]\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/16/1\"\nmax_msgs_per_s = 0", "line 4"),
            ("[route", "line 1"),
        ] {
            let said = read_table(text).unwrap_err();
            assert!(said.contains("routes.toml") && said.contains(word), "{text}: {said}");
        }
        let twice = "[[route]]\nname = \"a\"\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/16/1\"\n".repeat(2);
        assert!(read_table(&twice).unwrap_err().contains("two routes are called"));
        let many: String = (0..=MAX_TOPICS)
            .map(|n| format!("[[route]]\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/16/{n}\"\n"))
            .collect();
        assert!(read_table(&many).unwrap_err().contains("129 pubsub topics"));
        let absent = read(Path::new("/nowhere/routes.toml"), &around()).unwrap_err().to_string();
        assert!(absent.contains("/nowhere/routes.toml"), "{absent}");
        let long = " ".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1);
        assert!(read_table(&long).unwrap_err().contains("over 1048576 bytes"));
    }
}
