-- What attach() declares of aliases, in the plain database.
ALTER TABLE "TaskRun"
	ADD CHECK ("friendlyId" IS NULL OR NOT runops.is_classifiable("friendlyId") OR runops.store_of("friendlyId") = runops.store_of(id)),
	ADD CHECK ("parentTaskRunId" IS NULL OR NOT runops.is_classifiable("parentTaskRunId") OR runops.store_of("parentTaskRunId") = runops.store_of(id));
