-- How often somebody asked of late is counted back from his last request.
CREATE INDEX change_requests_requester ON change_requests (requester_id, requested_at) WHERE requested_at IS NOT NULL;
