use super::*;

#[test]
fn our_own_faults_do_not_count_against_an_endpoint() {
    let notes = HealthNotes::default();
    let webhook = WebhookId::new_v7(1, [1; 10]);
    let add = |status, fault| notes.add(webhook, status, DateTime::UNIX_EPOCH, fault);
    let failures = || notes.lock().get(&webhook).map_or(0, |note| note.failures);
    add(DeliveryStatus::Failed, Fault::Endpoint);
    add(DeliveryStatus::Retrying, Fault::Endpoint);
    add(DeliveryStatus::Cancelled, Fault::Endpoint);
    add(DeliveryStatus::Failed, Fault::Own);
    assert_eq!(failures(), 1);
    add(DeliveryStatus::Delivered, Fault::None);
    assert_eq!(failures(), 0);
}
