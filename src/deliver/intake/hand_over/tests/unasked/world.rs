//! One delivery in a world of a partition, its owners and Postgres.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{AWAY, Omitted, REPEATED};
use crate::deliver::intake::hand_over::{HandOver, SuspectRecords, UnaskedSends};
use crate::deliver::intake::work::Assignment;
use crate::deliver::recent_firsts::RecentFirsts;
use crate::deliver::resume::{ClaimedAttempt, DeliveryProgress, Resume, resume};
use crate::domain::delivery::DeliveryStatus;

/// Kills, suspensions, hand-overs, and the end.
mod faults;
/// Records on their way to an owner.
mod reading;

/// Time at which a run begins.
const BEGIN_MS: i64 = 1_000_000;
/// Time after which the group gives the partitions of a silent owner away.
const SESSION_MS: i64 = 6_000;
/// Longest time between two polls in which nobody else can have come in between.
const MAX_GAP: Duration = Duration::from_secs(3);
/// Age of an answer of Postgres up to which something is sent without asking it.
const ANSWER_AGE_MS: i64 = 50;
/// Longest time that a request takes.
const DEADLINE_MS: i64 = 30_000;
/// Difference that is allowed between clocks.
const CLOCK_SLACK_MS: i64 = 2_000;

/// The step that an owner makes next for a record.
#[derive(Debug, Clone, Copy)]
enum ModelStep {
    /// Its turn has come.
    Begin,
    /// Postgres has answered.
    Asked(Option<DeliveryProgress>),
    /// It is sent, and to be recorded.
    Record,
    Complete,
}

#[derive(Debug)]
struct ModelWork {
    offset: i64,
    read_ms: i64,
    suspect: bool,
    must_be_noted: bool,
    needs_look_up: bool,
    step: ModelStep,
}

#[derive(Debug)]
struct Owner {
    nonce: u32,
    is_suspended: bool,
    assignment: Assignment,
    /// The partition's end at the assignment.
    end: i64,
    unasked: UnaskedSends,
    suspects: SuspectRecords,
    /// A former owner has noted the delivery.
    is_noted: bool,
    recent: RecentFirsts,
    next: i64,
    /// A commit that is about to be sent.
    to_commit: Option<ModelCommit>,
    /// A commit that no broker has taken yet.
    on_its_way: Option<ModelCommit>,
    polled_ms: i64,
    answered_ms: i64,
    work: Vec<ModelWork>,
}

/// A commit: who made it, up to where all is complete, and the note beside it.
#[derive(Debug, Clone, Copy)]
struct ModelCommit {
    nonce: u32,
    low_water: i64,
    left: HandOver,
}

#[derive(Debug)]
pub(super) struct World {
    omitted: Omitted,
    start: Instant,
    pub(super) now_ms: i64,
    /// Difference of the detector's clock.
    skew_ms: i64,
    /// When the notification was decided, by that clock.
    created_ms: Option<i64>,
    /// Offset and time of each record of the delivery.
    log: Vec<(i64, i64)>,
    end: i64,
    committed: Option<ModelCommit>,
    /// Others than the group's do not know yet that they are not, or finish.
    owners: Vec<Owner>,
    owners_before: u32,
    postgres: Option<DeliveryProgress>,
    pub(super) is_postgres_away: bool,
    /// When it could last have answered.
    answered_ms: i64,
    /// Nonces of the owners that have noted the delivery.
    notes: BTreeSet<u32>,
    /// For each request, true if it is flagged as a possible repeat.
    sent: Vec<bool>,
}

impl World {
    pub(super) fn new(omitted: Omitted, skew_ms: i64, start: Instant) -> Self {
        Self {
            omitted,
            start,
            now_ms: BEGIN_MS,
            skew_ms,
            created_ms: None,
            log: vec![],
            end: 0,
            committed: None,
            owners: vec![],
            owners_before: 0,
            postgres: None,
            is_postgres_away: false,
            answered_ms: BEGIN_MS,
            notes: BTreeSet::new(),
            sent: vec![],
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms.unsigned_abs())
    }

    /// Publishes the record, or a copy, as a detector does that was killed. A clock that is further
    /// ahead than the slack makes no copy: against both at once there is no protection.
    pub(super) fn publish(&mut self) {
        if self.skew_ms > CLOCK_SLACK_MS && self.created_ms.is_some() {
            return;
        }
        self.created_ms.get_or_insert(self.now_ms + self.skew_ms);
        self.log.push((self.end, self.now_ms));
        self.end += 1;
    }

    pub(super) fn publish_others(&mut self, count: i64) {
        self.end += count;
    }

    /// The owner that was given the partition last, unless it is dead.
    fn group_owner(&mut self) -> Option<&mut Owner> {
        let nonce = self.owners_before;
        self.owners.iter_mut().find(|owner| owner.nonce == nonce)
    }

    /// Gives the partition to a new process, unless its owner is there.
    pub(super) fn assign(&mut self) {
        let has_owner = self
            .owners
            .last()
            .is_some_and(|last| !last.assignment.is_revoked() && self.now_ms - last.polled_ms < SESSION_MS);
        if has_owner {
            return;
        }
        self.owners_before += 1;
        let (nonce, now_ms) = (self.owners_before, self.now_ms);
        let left = self.committed.map(|committed| committed.left);
        let former = left.filter(|left| left.is_of_dead(false));
        let is_noted = former.is_some() && self.adopt_notes(nonce);
        let end = self.end;
        self.owners.push(Owner {
            nonce,
            is_suspended: false,
            assignment: Assignment::new("owner".into(), MAX_GAP, self.instant(), now_ms),
            end,
            unasked: UnaskedSends::new(Some(end), former),
            suspects: SuspectRecords::new(left.and_then(|left| left.suspect_before_ms(false, now_ms))),
            is_noted,
            recent: RecentFirsts::default(),
            next: self.committed.map_or(0, |committed| committed.low_water),
            to_commit: None,
            on_its_way: None,
            polled_ms: now_ms,
            answered_ms: 0,
            work: vec![],
        });
        self.note_poll(self.owners.len() - 1);
        self.commit_and_wait(false);
    }

    /// True if the former owner has noted the delivery, whose outcome is not recorded.
    fn adopt_notes(&mut self, nonce: u32) -> bool {
        let is_recorded = self.postgres.is_some_and(|progress| progress.attempts > 0);
        let dead = self.committed.map(|committed| committed.nonce);
        let is_noted = !is_recorded && dead.is_some_and(|dead| self.notes.contains(&dead));
        if is_noted {
            self.notes.insert(nonce);
        }
        is_noted
    }

    /// Lets the group's owner commit what is complete, and announce what it may send unasked.
    pub(super) fn commit(&mut self) {
        self.commit_as(false);
    }

    fn commit_as(&mut self, is_claimed: bool) {
        let Some(owner) = self.group_owner().filter(|owner| !owner.is_suspended) else {
            return;
        };
        if owner.assignment.is_revoked() {
            return;
        }
        owner.unasked.extend(owner.next, !owner.work.is_empty());
        let open = owner.work.iter().map(|work| work.offset).min();
        let low_water = open.unwrap_or(owner.next);
        owner.to_commit = Some(ModelCommit {
            nonce: owner.nonce,
            low_water,
            left: owner.unasked.state(low_water, is_claimed),
        });
    }

    /// Lets the broker take a commit of the group's owner, and answer it.
    fn take_commit(&mut self) {
        if let Some(owner) = self.group_owner()
            && let Some(commit) = owner.on_its_way.take()
        {
            owner.unasked.acknowledge();
            owner.assignment.confirm();
            self.committed = Some(commit);
        }
    }

    /// Sends a commit and waits for the answer.
    fn commit_and_wait(&mut self, is_claimed: bool) {
        self.commit_as(is_claimed);
        if let Some(owner) = self.group_owner() {
            owner.on_its_way = owner.to_commit.take();
        }
        self.take_commit();
    }

    /// Lets an owner poll. One that has lost the partition hears of it.
    fn poll(&mut self, index: usize) {
        let is_groups = self.owners[index].nonce == self.owners_before;
        self.note_poll(index);
        let owner = &mut self.owners[index];
        if !is_groups {
            owner.assignment.revoke();
        }
        if owner.assignment.is_revoked() {
            let is_sent = |step| matches!(step, ModelStep::Record | ModelStep::Complete);
            owner.work.retain(|work| is_sent(work.step));
            return;
        }
        match owner.assignment.is_broken() {
            true => self.commit_and_wait(false),
            false => self.take_commit(),
        }
        self.read(index);
        let owner = &self.owners[index];
        if owner.unasked.is_short(owner.next) {
            self.commit();
        }
        let owner = &mut self.owners[index];
        owner.on_its_way = owner.to_commit.take();
    }

    fn note_poll(&mut self, index: usize) {
        let (now, now_ms) = (self.instant(), self.now_ms);
        let owner = &mut self.owners[index];
        owner.assignment.note_poll(now, now_ms);
        owner.polled_ms = now_ms;
        if !self.is_postgres_away {
            owner.answered_ms = now_ms;
        }
    }

    /// Lets the `pick`-th owner make a step for its first record; others wait behind it.
    pub(super) fn step(&mut self, pick: usize) -> Result<(), String> {
        let running = |owner: &Owner| !owner.is_suspended && !owner.work.is_empty();
        let count = self.owners.iter().filter(|owner| running(owner)).count();
        if count == 0 {
            return Ok(());
        }
        let mut indices = (0..self.owners.len()).filter(|at| running(&self.owners[*at]));
        let index = indices.nth(pick % count).expect("it is there");
        drop(indices);
        let next = match self.owners[index].work[0].step {
            ModelStep::Begin => self.begin(index)?,
            ModelStep::Asked(progress) => self.answer(index, progress)?,
            ModelStep::Record => self.record(index),
            ModelStep::Complete => {
                // And what waited behind it, for the same attempt.
                self.owners[index].work.clear();
                return Ok(());
            }
        };
        self.owners[index].work[0].step = next;
        Ok(())
    }

    /// Sends without asking, or asks, as `Deliverer::go_on` does.
    fn begin(&mut self, index: usize) -> Result<ModelStep, String> {
        let (is_unbroken, now_ms) = (self.is_unbroken(index), self.now_ms);
        let owner = &mut self.owners[index];
        let work = &owner.work[0];
        if owner.assignment.is_revoked() || (!is_unbroken && work.must_be_noted) {
            return Ok(ModelStep::Begin);
        }
        let is_there = self.omitted == Omitted::Answered || now_ms - owner.answered_ms <= ANSWER_AGE_MS;
        let is_old = self.omitted != Omitted::Polled && now_ms - work.read_ms > MAX_GAP.as_millis() as i64;
        if is_there && !work.needs_look_up && is_unbroken && !is_old {
            let suspect = work.suspect;
            return self.send(suspect, true);
        }
        if self.is_postgres_away {
            return Ok(ModelStep::Begin);
        }
        owner.answered_ms = now_ms;
        if work.must_be_noted && self.omitted != Omitted::Noted {
            self.notes.insert(owner.nonce);
        }
        Ok(ModelStep::Asked(self.postgres))
    }

    /// Goes on by what Postgres has said, as `Deliverer::answer` does.
    fn answer(&mut self, index: usize, progress: Option<DeliveryProgress>) -> Result<ModelStep, String> {
        let is_unbroken = self.is_unbroken(index);
        let owner = &mut self.owners[index];
        let work = &mut owner.work[0];
        match resume(1, false, progress.as_ref(), self.now_ms) {
            Resume::Send { possible_repeat } => {
                if owner.assignment.is_revoked() || (!is_unbroken && work.must_be_noted) {
                    work.needs_look_up = true;
                    return Ok(ModelStep::Begin);
                }
                let is_flagged = possible_repeat || work.suspect;
                self.send(is_flagged, false)
            }
            Resume::Hold { .. } => Ok(ModelStep::Begin),
            Resume::Complete | Resume::Republish(_) => Ok(ModelStep::Complete),
        }
    }

    fn is_unbroken(&self, index: usize) -> bool {
        let assignment = &self.owners[index].assignment;
        self.omitted == Omitted::Polled || assignment.is_unbroken(self.instant(), self.now_ms)
    }

    /// Sends it, and checks that this may be done.
    fn send(&mut self, is_flagged: bool, is_unasked: bool) -> Result<ModelStep, String> {
        let is_repeat = is_unasked && !self.sent.is_empty();
        self.sent.push(is_flagged);
        let unflagged = self.sent.iter().filter(|is_flagged| !**is_flagged).count();
        if is_repeat || unflagged > 1 {
            return Err(format!("{REPEATED}: {self:?}"));
        }
        if is_unasked && self.now_ms - self.answered_ms > ANSWER_AGE_MS {
            return Err(format!("{AWAY}: {self:?}"));
        }
        Ok(ModelStep::Record)
    }

    fn record(&mut self, index: usize) -> ModelStep {
        if self.is_postgres_away {
            return ModelStep::Record;
        }
        self.owners[index].answered_ms = self.now_ms;
        self.postgres = Some(progress(DeliveryStatus::Delivered, 1, None));
        ModelStep::Complete
    }
}

fn progress(status: DeliveryStatus, attempts: u32, claim: Option<ClaimedAttempt>) -> DeliveryProgress {
    DeliveryProgress {
        claim,
        ..DeliveryProgress::after(status, attempts)
    }
}
