DROP INDEX change_requests_requester;
