DROP TABLE notification_marks;
DROP TABLE notification_messages;
DROP TABLE notification_recipients;
