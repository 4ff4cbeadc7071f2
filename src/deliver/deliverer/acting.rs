//! Acting on what the scheduler says. What somebody else may have worked on is looked up first.

use std::sync::Arc;
use std::time::Duration;

use super::{BATCH, Deliverer};
use crate::clock;
use crate::deliver::decide::{Action, Settlement};
use crate::deliver::events::{LaneEvent, Purpose, Question, Turn};
use crate::deliver::intake::work::Work;
use crate::deliver::lanes::action::LaneAction;
use crate::deliver::lanes::flow::RequestNumber;
use crate::deliver::lanes::scheduler::Wait;
use crate::deliver::resume::{DeliveryProgress, Resume, resume};
use crate::deliver::rows;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::health::ParkReason;
use crate::record::send_notes::SendNote;

/// Pause before a held record is looked at again, to see if the former owner's outcome is there.
const HOLD_POLL: Duration = Duration::from_millis(200);
/// Pause before a delivery that a newer version has worked on is looked at again.
const NEWER_POLL: Duration = Duration::from_secs(5);
/// Age of an answer of Postgres up to which something is sent without asking it.
const ANSWER_AGE: Duration = Duration::from_millis(50);
/// Queries about deliveries at a time: one is on its way while the answer to another is acted upon.
const ASK_AT_ONCE: u32 = 2;

impl Deliverer {
    /// Does what the scheduler says.
    pub(super) fn act(&mut self, action: LaneAction<Box<Work>>) {
        match action {
            LaneAction::Start {
                mut job,
                is_probe,
                waited,
                cause,
                ..
            } => {
                job.request = Some(self.flow.started(clock::monotonic()));
                self.observe_wait(waited, cause);
                let turn = Turn {
                    is_probe,
                    waited_for_endpoint: cause.is_some_and(Wait::is_for_endpoint),
                    is_backlog_full: self.backlog.is_full(job.record.webhook_id),
                };
                self.begin(job, turn);
            }
            LaneAction::Park {
                job, reason, due_ms, ..
            } => self.park(job, reason, due_ms),
            LaneAction::Refuse { job, .. } => self.refuse(job),
        }
    }

    /// Begins a delivery whose turn it is.
    fn begin(&mut self, work: Box<Work>, turn: Turn) {
        self.go_on(work, Purpose::Send(turn));
    }

    fn park(&mut self, work: Box<Work>, reason: ParkReason, until_ms: i64) {
        self.settle(work, Settlement::Park { reason, until_ms });
    }

    /// Cancels a delivery whose endpoint was disabled while it waited.
    fn refuse(&mut self, work: Box<Work>) {
        let (status, reason) = (DeliveryStatus::Cancelled, FailureReason::Disabled);
        self.settle(work, Settlement::End { status, reason });
    }

    pub(super) fn settle(&mut self, work: Box<Work>, settlement: Settlement) {
        self.go_on(work, Purpose::Settle(settlement));
    }

    fn go_on(&mut self, work: Box<Work>, purpose: Purpose) {
        if work.assignment().is_revoked() {
            // The next owner goes on with it.
            if let Purpose::Send(turn) = purpose {
                self.end_turn(&work, turn);
            }
            return self.links.in_flight.requeue(*work);
        }
        let now = clock::monotonic();
        let Some((work, purpose)) = self.hold_if_unowned(work, purpose) else {
            return;
        };
        // Under load outcomes are written all the time. When nothing was for a while, the question
        // is also how we know that the outcome can be recorded.
        let is_there = self.links.monitor.has_answered_within(ANSWER_AGE, now);
        let is_noted = work.must_be_noted && matches!(purpose, Purpose::Send(_));
        if !is_there || is_noted || work.must_be_looked_up(now, clock::now_ms()) {
            self.questions.push(Question { work, purpose });
        } else {
            let possible_repeat = work.suspect;
            self.perform(work, purpose, possible_repeat);
        }
    }

    /// Asks Postgres about deliveries, unless it is being asked already: the more there are, the
    /// more one query asks about.
    pub(super) fn ask(&mut self) {
        while !self.questions.is_empty() && self.asking < ASK_AT_ONCE {
            self.asking += 1;
            let rest = self.questions.split_off(self.questions.len().min(BATCH));
            let asked = std::mem::replace(&mut self.questions, rest);
            let notes = self.notes(&asked);
            let (progress, events) = (self.links.progress.clone(), self.links.events.clone());
            let give_up = self.links.give_up.clone();
            self.links.tasks.spawn(async move {
                let ids: Vec<_> = asked.iter().map(|one| one.work.record.delivery_id).collect();
                let answer = async { tokio::join!(progress.read(&ids), progress.note(&notes)) };
                tokio::select! {
                    (known, ()) = answer => {
                        drop(events.send(LaneEvent::LookedUp { asked, known }));
                    }
                    () = give_up.cancelled() => {}
                }
            });
        }
    }

    /// Makes the notes of what is about to be sent, by intake thread.
    fn notes(&mut self, asked: &[Question]) -> Vec<SendNote> {
        let mut notes: Vec<SendNote> = Vec::new();
        for Question { work, purpose } in asked {
            let (Purpose::Send(_), true, Some(request)) = (purpose, work.must_be_noted, work.request) else {
                continue;
            };
            let owner = work.assignment().nonce();
            self.noted.insert(request);
            let note = match notes.iter_mut().find(|note| note.owner == *owner) {
                Some(note) => note,
                None => notes.push_mut(SendNote::new(owner)),
            };
            note.add(work.record.delivery_id, request.number());
        }
        let lowest = self.noted.first().map_or(0, |request| request.number());
        for note in &mut notes {
            note.done_before = lowest;
        }
        notes
    }

    /// Holds a delivery back whose send would have to be noted, for as long as it is not sure that
    /// its partition is still owned: the next owner has read the notes already.
    fn hold_if_unowned(&mut self, work: Box<Work>, purpose: Purpose) -> Option<(Box<Work>, Purpose)> {
        let is_owned = work.assignment().is_unbroken(clock::monotonic(), clock::now_ms());
        let Purpose::Send(turn) = purpose else {
            return Some((work, purpose));
        };
        if is_owned || !work.must_be_noted {
            return Some((work, purpose));
        }
        self.end_turn(&work, turn);
        self.requeue_after(work, HOLD_POLL);
        None
    }

    /// Notes that the outcome of a request is recorded, or that it is not made.
    pub(super) fn request_is_over(&mut self, request: RequestNumber) {
        self.noted.remove(&request);
        self.flow.recorded(request, clock::monotonic());
    }

    /// Holds a delivery back whose history a newer version wrote.
    pub(super) fn hold_newer(&mut self, question: Question) {
        let Question { work, purpose } = question;
        if let Some(suppressed) = self.newer_logged.admit(clock::monotonic()) {
            tracing::error!(
                delivery.id = %work.record.delivery_id,
                webhook.id = %work.record.webhook_id,
                suppressed,
                "a delivery with the history of a newer version is held back: finish the upgrade"
            );
        }
        if let Purpose::Send(turn) = purpose {
            self.end_turn(&work, turn);
        }
        self.requeue_after(work, NEWER_POLL);
    }

    /// Goes on with a delivery by what Postgres knows of it.
    pub(super) fn answer(&mut self, question: Question, progress: Option<DeliveryProgress>) {
        let Question { mut work, purpose } = question;
        let (attempt, is_row) = (work.record.attempt, work.parked().is_some());
        let now_ms = clock::now_ms();
        let decision = resume(attempt, is_row, progress.as_ref(), now_ms);
        if let Resume::Send { possible_repeat } = decision {
            let Some((held, purpose)) = self.hold_if_unowned(work, purpose) else {
                return;
            };
            work = held;
            // Its row of `parked` is refused if another delivery has taken its place meanwhile.
            let is_late = !is_row && progress.is_some_and(|known| known.is_late(now_ms));
            if is_late && !self.backlog.is_full(work.record.webhook_id) {
                if let Purpose::Send(turn) = purpose {
                    self.end_turn(&work, turn);
                }
                let (reason, until_ms) = (ParkReason::Queue, now_ms);
                return self.record(*work, Settlement::Park { reason, until_ms });
            }
            work.needs_look_up = false;
            work.read_at = clock::monotonic();
            let possible_repeat = possible_repeat || work.suspect;
            return self.perform(work, purpose, possible_repeat);
        }
        if let Purpose::Send(turn) = purpose {
            self.end_turn(&work, turn);
        }
        self.resume_unsent(work, decision, progress);
    }

    /// Goes on with a delivery that needs no request from here.
    pub(super) fn resume_unsent(
        &mut self,
        work: Box<Work>,
        decision: Resume,
        progress: Option<DeliveryProgress>,
    ) {
        let publisher = Arc::clone(&self.links.publisher);
        match decision {
            Resume::Complete => {
                self.links
                    .tasks
                    .spawn(async move { publisher.finish_superseded(*work, progress.as_ref()).await });
            }
            Resume::Republish(next) => {
                self.links
                    .tasks
                    .spawn(async move { publisher.republish(*work, next, progress.as_ref()).await });
            }
            Resume::Hold { until_ms } => {
                let remaining_ms = u64::try_from(until_ms - clock::now_ms()).unwrap_or(0);
                self.requeue_after(work, HOLD_POLL.min(Duration::from_millis(remaining_ms)));
            }
            Resume::Send { .. } => self.links.in_flight.requeue(*work),
        }
    }

    fn perform(&mut self, work: Box<Work>, purpose: Purpose, possible_repeat: bool) {
        let turn = match purpose {
            Purpose::Send(turn) => turn,
            Purpose::Settle(settlement) => return self.record(*work, settlement),
        };
        if self.is_withdrawn(&work) {
            self.end_turn(&work, turn);
            return self.put_off(vec![*work]);
        }
        // The webhook may have changed while the delivery waited.
        match self.decide(&work) {
            Action::Queue { webhook } => {
                self.maybe_sent.remove(&work.record.delivery_id);
                self.links.attempts.start(work, webhook, possible_repeat, turn);
            }
            Action::RequeueAfter(pause) => {
                self.end_turn(&work, turn);
                self.requeue_after(work, pause);
            }
            Action::Settle(settlement) => {
                self.end_turn(&work, turn);
                self.record(*work, settlement);
            }
        }
    }

    /// Ends the turn of a delivery that is not sent after all.
    fn end_turn(&mut self, work: &Work, turn: Turn) {
        if let Some(request) = work.request {
            self.request_is_over(request);
        }
        self.give_up_turn(work.record.webhook_id, turn.is_probe);
    }

    /// Records the end of a delivery without a request, or that it is parked.
    fn record(&mut self, work: Work, settlement: Settlement) {
        let webhook = work.record.webhook_id;
        let outcome = match settlement {
            Settlement::End { status, reason } => rows::unsent(work, status, reason),
            Settlement::Park { .. } if work.parked().is_none() && self.backlog.is_full(webhook) => {
                rows::unsent(work, DeliveryStatus::Failed, FailureReason::Overflow)
            }
            Settlement::Park { reason, until_ms } => {
                if work.parked().is_none() {
                    self.backlog.parking(webhook, work.due_at_ms);
                }
                rows::parked(work, reason, until_ms)
            }
        };
        self.unsent.push_back(outcome);
    }

    /// Hands outcomes on for which the writer has room.
    pub(super) fn hand_on_outcomes(&mut self) {
        while let Some(outcome) = self.unsent.pop_front() {
            if let Err(refused) = self.links.outcomes.try_send(outcome) {
                // After the writer is gone the next owner reads the record again.
                self.unsent.push_front(refused.into_inner());
                break;
            }
        }
    }
}
