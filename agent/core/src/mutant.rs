//! Defects of the executor that can be switched on for the simulator, which must find them.

trimaran_model::mutants! {
    /// What follows a write of the journal does not wait for the disk.
    ActBeforeDurable = "act_before_durable",
    /// A fence that is not larger than the largest one is taken as well.
    TakeAnyFence = "take_any_fence",
    /// The lease counts from the receipt of an answer.
    LeaseFromReceipt = "lease_from_receipt",
    /// A lease that began is live whatever the time is.
    EndlessLease = "endless_lease",
    /// A result is sent once, and not again on the next session.
    ResultOnce = "result_once",
}
