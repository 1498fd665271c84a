//! The ways in which the engine of this test can be wrong.

use crate::mutation::mutations;

mutations! {
    R1 {
        SecondInitIsSent = "r1-second-init-is-sent",
        InitIsRepeatedBeforeData = "r1-init-is-repeated-before-data",
        ChunkGoesBeforeInit = "r1-chunk-goes-before-init",
    }
    R2 {
        ChunksAreNotAnnounced = "r2-chunks-are-not-announced",
        ChunksAreAlwaysAnnounced = "r2-chunks-are-always-announced",
        LastChunkIsNotMarked = "r2-last-chunk-is-not-marked",
        FirstChunkIsMarkedLast = "r2-first-chunk-is-marked-last",
        ChunkBehindTheLast = "r2-chunk-behind-the-last",
    }
    R3 {
        LengthIsThatOfTheInlinePart = "r3-length-is-that-of-the-inline-part",
        ChecksumOfTheFirstPiece = "r3-checksum-of-the-first-piece",
        ChecksumIsCastagnolis = "r3-checksum-is-castagnolis",
        ChunksComeInReverse = "r3-chunks-come-in-reverse",
        LastByteIsLost = "r3-last-byte-is-lost",
        PayloadIsSentTwice = "r3-payload-is-sent-twice",
    }
    R4 {
        DataOfInitIsLost = "r4-data-of-init-is-lost",
        DataOfInitIsText = "r4-data-of-init-is-text",
        ErrorAmongChunksIsRefused = "r4-error-among-chunks-is-refused",
        ErrorOfInitIsOverlooked = "r4-error-of-init-is-overlooked",
    }
    R5 {
        DataGoesBeforeInitResponse = "r5-data-goes-before-init-response",
        FinishGoesBeforeInitResponse = "r5-finish-goes-before-init-response",
        DataGoesAmongChunks = "r5-data-goes-among-chunks",
    }
    R6 {
        DeafWhileSending = "r6-deaf-while-sending",
        UnaskedDataIsRefused = "r6-unasked-data-is-refused",
        UnaskedDataIsDropped = "r6-unasked-data-is-dropped",
        OutputWaitsForFinish = "r6-output-waits-for-finish",
        EmptyDataIsSkipped = "r6-empty-data-is-skipped",
        OutputComesInReverse = "r6-output-comes-in-reverse",
        OneMessageAFrame = "r6-one-message-a-frame",
    }
    R7 {
        ErrorBehindFinishIsRefused = "r7-error-behind-finish-is-refused",
    }
    R8 {
        NoCancelAfterAnError = "r8-no-cancel-after-an-error",
        NoCancelAfterAnErrorBehindFinish = "r8-no-cancel-after-an-error-behind-finish",
        ErrorIsTheEnd = "r8-error-is-the-end",
        FailedInitIsTheEnd = "r8-failed-init-is-the-end",
        FinishAfterAnError = "r8-finish-after-an-error",
    }
    R9 {
        CancelIsRepeated = "r9-cancel-is-repeated",
        EachErrorIsAnsweredByCancel = "r9-each-error-is-answered-by-cancel",
    }
    R10 {
        EmptyInputIsNotFinished = "r10-empty-input-is-not-finished",
        ResultIsLost = "r10-result-is-lost",
        FinishCallbackCannotFail = "r10-finish-callback-cannot-fail",
        FinishResponseOvertakesOutput = "r10-finish-response-overtakes-output",
    }
    R11 {
        FinishResponseBehindCancelIsRefused = "r11-finish-response-behind-cancel-is-refused",
        FinishResponseBehindCancelIsNotHeard = "r11-finish-response-behind-cancel-is-not-heard",
        CancelResponseBehindFinishIsRefused = "r11-cancel-response-behind-finish-is-refused",
        NoCancelBehindFinish = "r11-no-cancel-behind-finish",
        CancelledIsDoneAllTheSame = "r11-cancelled-is-done-all-the-same",
    }
    R12 {
        CancelCallbackCannotFail = "r12-cancel-callback-cannot-fail",
        DataBehindCancelIsRefused = "r12-data-behind-cancel-is-refused",
    }
    R13 {
        NoHalfClose = "r13-no-half-close",
        HalfCloseBehindFinish = "r13-half-close-behind-finish",
        HalfCloseBehindCancel = "r13-half-close-behind-cancel",
        SecondTerminatorCounts = "r13-second-terminator-counts",
        EndOfTheStreamIsWaitedFor = "r13-end-of-the-stream-is-waited-for",
    }
    R14 {
        ErrorWithoutKindIsTheUsers = "r14-error-without-kind-is-the-users",
        ErrorWithoutKindSaysNothing = "r14-error-without-kind-says-nothing",
        ClassOfAnErrorIsLost = "r14-class-of-an-error-is-lost",
        ErrorOfTheWorkerIsTheUsers = "r14-error-of-the-worker-is-the-users",
        StatusBehindTheTerminatorCounts = "r14-status-behind-the-terminator-counts",
        StatusIsAnErrorOfTheWorker = "r14-status-is-an-error-of-the-worker",
        TextOfTheStatusIsLost = "r14-text-of-the-status-is-lost",
    }
    R15 {
        DataFormatIsNotSet = "r15-data-format-is-not-set",
    }
    R16 {
        EmptyResponseIsIgnored = "r16-empty-response-is-ignored",
        EmptyControlIsIgnored = "r16-empty-control-is-ignored",
        UnknownBranchIsIgnored = "r16-unknown-branch-is-ignored",
        EmptyResponseIsAnError = "r16-empty-response-is-an-error",
    }
    R17 {
        VersionIsTwo = "r17-version-is-two",
        VersionIsZero = "r17-version-is-zero",
    }
    R18 {
        UdfIsMissing = "r18-udf-is-missing",
        FormatIsLost = "r18-format-is-lost",
        FormatIsInCapitals = "r18-format-is-in-capitals",
        NameIsLost = "r18-name-is-lost",
        EvalTypeIsLost = "r18-eval-type-is-lost",
        EvalTypeIsInCapitals = "r18-eval-type-is-in-capitals",
        ParametersAreLost = "r18-parameters-are-lost",
        TimezoneIsLost = "r18-timezone-is-lost",
        TimezoneIsOfTheMachine = "r18-timezone-is-of-the-machine",
        SessionConfIsLost = "r18-session-conf-is-lost",
        MapsAreMixedUp = "r18-maps-are-mixed-up",
        OutputSchemaIsLost = "r18-output-schema-is-lost",
    }
    R19 {
        ProtocolErrorIsOfTheTransport = "r19-protocol-error-is-of-the-transport",
    }
    R20 {
        UnknownFieldsAreRefused = "r20-unknown-fields-are-refused",
        OrderOfFieldsMatters = "r20-order-of-fields-matters",
    }
    C1 {
        PipelinesUnannounced = "c1-pipelines-unannounced",
        PartOfAFeatureWillDo = "c1-part-of-a-feature-will-do",
    }
    C2 {
        CancelResponseUnaskedIsRefused = "c2-cancel-response-unasked-is-refused",
        FinishResponseAfterAnErrorIsRefused = "c2-finish-response-after-an-error-is-refused",
        FinishResponseHidesTheError = "c2-finish-response-hides-the-error",
    }
    C3 {
        InitResponseBehindCancelIsRefused = "c3-init-response-behind-cancel-is-refused",
        CancelWaitsForInitResponse = "c3-cancel-waits-for-init-response",
    }
    C5 {
        EmptyChunkGoesFirst = "c5-empty-chunk-goes-first",
    }
    C8 {
        MapOfMetricsIsRefused = "c8-map-of-metrics-is-refused",
        CountersAreRefused = "c8-counters-are-refused",
        OwnMetricsAreLost = "c8-own-metrics-are-lost",
        CountersAreOffByOne = "c8-counters-are-off-by-one",
    }
    P2 {
        PortIsAPath = "p2-port-is-a-path",
    }
    P7 {
        UsualLimitOfGrpc = "p7-usual-limit-of-grpc",
    }
    E1 {
        StreamIsOpenedAtOnce = "e1-stream-is-opened-at-once",
        CancelBeforeInitOpens = "e1-cancel-before-init-opens",
        InitAfterCancelGoesAhead = "e1-init-after-cancel-goes-ahead",
    }
    E2 {
        SecondInitHangs = "e2-second-init-hangs",
        SecondInitIsTheFirst = "e2-second-init-is-the-first",
        MisuseBlamesTheWorker = "e2-misuse-blames-the-worker",
        MisuseEndsTheSession = "e2-misuse-ends-the-session",
        ProcessingOpens = "e2-processing-opens",
        SecondProcessingIsTheFirst = "e2-second-processing-is-the-first",
        MisuseHangs = "e2-misuse-hangs",
    }
    E3 {
        InitWaitsForEver = "e3-init-waits-for-ever",
        NoCancelAfterInitTimeout = "e3-no-cancel-after-init-timeout",
        InitTimeoutIsACancel = "e3-init-timeout-is-a-cancel",
        InitTimeoutIsThatOfAll = "e3-init-timeout-is-that-of-all",
    }
    E4 {
        PayloadIsNeverCut = "e4-payload-is-never-cut",
        LargerChunks = "e4-larger-chunks",
        OneMebibyteIsTooMuch = "e4-one-mebibyte-is-too-much",
        LengthIsNotSet = "e4-length-is-not-set",
        ChecksumIsNotSet = "e4-checksum-is-not-set",
    }
    E5 {
        CreditComesBackOnArrival = "e5-credit-comes-back-on-arrival",
        CreditIsNeverGivenBack = "e5-credit-is-never-given-back",
        WindowIsThatOfAll = "e5-window-is-that-of-all",
        InputGathers = "e5-input-gathers",
        UnreadOutputMakesDeaf = "e5-unread-output-makes-deaf",
        ClaimedLengthIsAllocated = "e5-claimed-length-is-allocated",
    }
    E6 {
        CancelWaitsForEver = "e6-cancel-waits-for-ever",
        FinishHasALimit = "e6-finish-has-a-limit",
        NoHeartbeats = "e6-no-heartbeats",
        MissedHeartbeatsAreForgotten = "e6-missed-heartbeats-are-forgotten",
        SilenceAfterCancelIsACancellation = "e6-silence-after-cancel-is-a-cancellation",
    }
    E7 {
        IdleLimitIsNone = "e7-idle-limit-is-none",
        IdleLimitIsOneForAll = "e7-idle-limit-is-one-for-all",
        IdleLimitIsOneOfInit = "e7-idle-limit-is-one-of-init",
        IdleIsACancel = "e7-idle-is-a-cancel",
        InputThatWaitsIsNotIdle = "e7-input-that-waits-is-not-idle",
        UnreadOutputIsIdle = "e7-unread-output-is-idle",
        SlowSourceIsIdle = "e7-slow-source-is-idle",
    }
    E8 {
        FailedInputIsFinished = "e8-failed-input-is-finished",
        FailedInputIsACancellation = "e8-failed-input-is-a-cancellation",
        FailedInputIsAReset = "e8-failed-input-is-a-reset",
        ErrorOfTheSourceIsLost = "e8-error-of-the-source-is-lost",
        ErrorOfTheWorkerBeatsTheSource = "e8-error-of-the-worker-beats-the-source",
        SilenceHidesTheSource = "e8-silence-hides-the-source",
    }
    E9 {
        EachCancelIsSent = "e9-each-cancel-is-sent",
        CancelQueuesUp = "e9-cancel-queues-up",
        NoRoomIsKept = "e9-no-room-is-kept",
        ReasonIsAsLongAsItLikes = "e9-reason-is-as-long-as-it-likes",
        ReasonIsLost = "e9-reason-is-lost",
        DataFollowsCancel = "e9-data-follows-cancel",
        FinishFollowsCancel = "e9-finish-follows-cancel",
        NoResetAfterSilence = "e9-no-reset-after-silence",
        DroppedDataKeepsItsCredit = "e9-dropped-data-keeps-its-credit",
        OutputIsHeldAfterCancel = "e9-output-is-held-after-cancel",
    }
    E10 {
        LastErrorWins = "e10-last-error-wins",
        CancellationHidesErrors = "e10-cancellation-hides-errors",
        TerminatorIsWaitedForWithTheError = "e10-terminator-is-waited-for-with-the-error",
        ErrorThatCrossesIsRefused = "e10-error-that-crosses-is-refused",
    }
    E11 {
        FinishResponseUnaskedIsAResult = "e11-finish-response-unasked-is-a-result",
        DataBeforeInitResponseIsDropped = "e11-data-before-init-response-is-dropped",
        DataBeforeInitResponseIsTaken = "e11-data-before-init-response-is-taken",
        SecondInitResponseIsIgnored = "e11-second-init-response-is-ignored",
        EndIsAResult = "e11-end-is-a-result",
        EndIsACancellation = "e11-end-is-a-cancellation",
        EndIsWaitedOut = "e11-end-is-waited-out",
        ErrorBeforeInitResponseIsRefused = "e11-error-before-init-response-is-refused",
        DataBehindAnErrorIsGiven = "e11-data-behind-an-error-is-given",
        DataBehindAnErrorIsRefused = "e11-data-behind-an-error-is-refused",
        CancelResponseUnaskedIsAViolation = "e11-cancel-response-unasked-is-a-violation",
        CancelResponseUnaskedIsAResult = "e11-cancel-response-unasked-is-a-result",
        CancelResponseUnaskedIsIgnored = "e11-cancel-response-unasked-is-ignored",
        ErrorOfAnUnaskedEndIsLost = "e11-error-of-an-unasked-end-is-lost",
        GarbageIsIgnored = "e11-garbage-is-ignored",
        GarbageIsAProtocolError = "e11-garbage-is-a-protocol-error",
        ViolationIsCancelledFirst = "e11-violation-is-cancelled-first",
    }
    E12 {
        CloseAfterInitIsAReset = "e12-close-after-init-is-a-reset",
        CloseInDataIsAReset = "e12-close-in-data-is-a-reset",
        CloseWaitsForInit = "e12-close-waits-for-init",
        CloseAfterFinishWaits = "e12-close-after-finish-waits",
        CloseDoesNotWait = "e12-close-does-not-wait",
        CloseCancelsTheFinished = "e12-close-cancels-the-finished",
        ClosedLaterHangs = "e12-closed-later-hangs",
        CancelDoesNotWakeInit = "e12-cancel-does-not-wake-init",
        DroppedIsForgotten = "e12-dropped-is-forgotten",
        DroppedIsReset = "e12-dropped-is-reset",
    }
    E13 {
        InterruptSendsNothing = "e13-interrupt-sends-nothing",
        InterruptWaitsForEver = "e13-interrupt-waits-for-ever",
        InterruptDoesNotWait = "e13-interrupt-does-not-wait",
        AcknowledgedIsInterruptedAllTheSame = "e13-acknowledged-is-interrupted-all-the-same",
        UnacknowledgedIsTransportFailed = "e13-unacknowledged-is-transport-failed",
    }
    E14 {
        FinishedIsNotReusable = "e14-finished-is-not-reusable",
        CancelledIsNotReusable = "e14-cancelled-is-not-reusable",
        FailedIsNotReusable = "e14-failed-is-not-reusable",
        TransportFailedIsReusable = "e14-transport-failed-is-reusable",
        InterruptedIsReusable = "e14-interrupted-is-reusable",
        FailedIsCancelled = "e14-failed-is-cancelled",
        BrokenTransportIsACancellation = "e14-broken-transport-is-a-cancellation",
    }
    D6 {
        RefusedHeartbeatIsNone = "d6-refused-heartbeat-is-none",
    }
    D10 {
        OneMissedHeartbeatIsTheEnd = "d10-one-missed-heartbeat-is-the-end",
    }
}
